package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// folderDoc describes the fields of a folder that clients know. All others are
// accepted, stored and given back.
type folderDoc struct {
	Name        string          `json:"name,omitempty" doc:"One word; f/NAME/ is how the paths in it begin. Of a change: that of the call"`
	Summary     *string         `json:"summary,omitempty" nullable:"true"`
	DisplayName *string         `json:"display_name,omitempty" nullable:"true"`
	Owners      []string        `json:"owners,omitempty" doc:"Users (u/NAME) and groups (g/NAME) that may do everything with the folder and what is in it"`
	ExtraPerms  map[string]bool `json:"extra_perms,omitempty" doc:"Users and groups that may read what is in it and run it, and whether they may write"`
}

// folderKnown is what the server adds to what was pushed.
type folderKnown struct {
	Workspace string    `json:"workspace_id"`
	Name      string    `json:"name"`
	CreatedBy string    `json:"created_by"`
	EditedAt  time.Time `json:"edited_at"`
}

// folderJSON is a folder as it is shown.
type folderJSON map[string]any

// Schema describes the folder.
func (folderJSON) Schema(r huma.Registry) *huma.Schema {
	return echoed[folderDoc, folderKnown](r)
}

// folderForm echoes a folder; clients that read owners and extra_perms without
// a look whether they are there find them empty.
func folderForm(f *store.Folder) (folderJSON, error) {
	var pushed map[string]json.RawMessage
	if err := json.Unmarshal(f.Body, &pushed); err != nil {
		return nil, fmt.Errorf("read folder %s: %w", f.Name, err)
	}
	out := folderJSON{"owners": []string{}, "extra_perms": map[string]any{}}
	for name, v := range pushed {
		out[name] = v
	}
	out["workspace_id"], out["name"] = f.Workspace, f.Name
	out["created_by"], out["edited_at"] = f.CreatedBy, f.EditedAt.UTC()
	return out, nil
}

// FolderRef is a folder, named in the path of a call.
type FolderRef struct {
	Workspace string `path:"workspace"`
	Name      string `path:"name" doc:"Name of the folder, without f/"`
}

type createFolderIn struct {
	WorkspaceRef
	Body verbatim[folderDoc] `required:"true"`
}

type updateFolderIn struct {
	FolderRef
	Body verbatim[folderDoc] `required:"true"`
}

// addFolders registers folders.
func (a *API) addFolders() {
	addText(a, "POST /api/w/{workspace}/folders/create", "createFolder", "Make a folder; answers with its name",
		func(ctx context.Context, in *createFolderIn) (string, error) {
			name := in.Body.Value.Name
			named(ctx, name)
			if err := callerOf(ctx).may(scope{domain: "folders", action: "write", paths: "f/" + name + "/"}); err != nil {
				return "", err
			}
			return name, a.e.CreateFolder(ctx, in.Workspace, in.Body.Raw, who(ctx, in.Workspace))
		})
	addText(a, "POST /api/w/{workspace}/folders/update/{name}", "updateFolder", "Change the fields of a folder that are sent; answers with its name",
		func(ctx context.Context, in *updateFolderIn) (string, error) {
			if err := in.may(ctx, "write"); err != nil {
				return "", err
			}
			return in.Name, a.e.UpdateFolder(ctx, in.Workspace, in.Name, in.Body.Raw, who(ctx, in.Workspace))
		})
	addText(a, "DELETE /api/w/{workspace}/folders/delete/{name}", "deleteFolder", "Delete a folder; what stands in it stays",
		func(ctx context.Context, in *FolderRef) (string, error) {
			if err := in.may(ctx, "write"); err != nil {
				return "", err
			}
			return "folder " + in.Name + " deleted", a.e.DeleteFolder(ctx, in.Workspace, in.Name, who(ctx, in.Workspace))
		})
	addJSON(a, "GET /api/w/{workspace}/folders/get/{name}", "getFolder", "A folder",
		func(ctx context.Context, in *FolderRef) (folderJSON, error) {
			if err := in.may(ctx, "read"); err != nil {
				return nil, err
			}
			f, err := a.e.Folder(ctx, in.Workspace, in.Name, who(ctx, in.Workspace))
			if err != nil {
				return nil, err
			}
			return folderForm(f)
		})
	addJSON(a, "GET /api/w/{workspace}/folders/exists/{name}", "existsFolder", "Whether there is a folder of a name",
		func(ctx context.Context, in *FolderRef) (bool, error) {
			if err := in.may(ctx, "read"); err != nil {
				return false, err
			}
			_, err := a.e.Folder(ctx, in.Workspace, in.Name, who(ctx, in.Workspace))
			if sluice.CodeOf(err) == sluice.CodeNotFound {
				return false, nil
			}
			return err == nil, err
		})
	a.addFolderOwners()
	addJSON(a, "GET /api/w/{workspace}/folders/list", "listFolders", "Folders by name", a.listFolders)
	addJSON(a, "GET /api/w/{workspace}/folders/listnames", "listFolderNames", "Names of folders",
		func(ctx context.Context, in *listFoldersIn) ([]string, error) {
			list, err := a.folders(ctx, in)
			names := make([]string, len(list))
			for i, f := range list {
				names[i] = f.Name
			}
			return names, err
		})
}

// addFolderOwners registers who owns a folder.
func (a *API) addFolderOwners() {
	addText(a, "POST /api/w/{workspace}/folders/addowner/{name}", "addOwnerToFolder", "Make a user or a group an owner of a folder",
		func(ctx context.Context, in *folderOwnerIn) (string, error) {
			if err := in.may(ctx, "write"); err != nil {
				return "", err
			}
			return "added " + in.Body.Owner + " to the owners of " + in.Name, a.e.AddFolderOwner(ctx, in.Workspace, in.Name, in.Body.Owner, who(ctx, in.Workspace))
		})
	addText(a, "POST /api/w/{workspace}/folders/removeowner/{name}", "removeOwnerToFolder", "Make a user or a group an owner of a folder no longer",
		func(ctx context.Context, in *folderOwnerIn) (string, error) {
			if err := in.may(ctx, "write"); err != nil {
				return "", err
			}
			return "removed " + in.Body.Owner + " from the owners of " + in.Name, a.e.RemoveFolderOwner(ctx, in.Workspace, in.Name, in.Body.Owner, in.Body.Write, who(ctx, in.Workspace))
		})
	addJSON(a, "GET /api/w/{workspace}/folders/is_owner/{name}", "isOwnerOfFolder", "Whether the caller may change a folder",
		func(ctx context.Context, in *FolderRef) (bool, error) {
			return who(ctx, in.Workspace).OwnsFolder(in.Name), nil
		})
}

type folderOwnerIn struct {
	FolderRef
	Body struct {
		Owner string `json:"owner" required:"true" doc:"u/NAME or g/NAME"`
		Write *bool  `json:"write,omitempty" nullable:"true" doc:"Of who is removed: the right that it keeps, true to write, false to read; what extra_perms says if left out"`
	} `required:"true"`
}

// may asks whether the caller's token reaches the folder.
func (in *FolderRef) may(ctx context.Context, action string) error {
	return callerOf(ctx).may(scope{domain: "folders", action: action, paths: "f/" + in.Name + "/"})
}

type listFoldersIn struct {
	WorkspaceRef
	Paging
}

// folders returns one page; without a size, all.
func (a *API) folders(ctx context.Context, in *listFoldersIn) ([]*store.Folder, error) {
	offset, n := in.window(engine.MaxFolders, engine.MaxFolders)
	return a.e.Folders(ctx, in.Workspace, offset, n, who(ctx, in.Workspace))
}

func (a *API) listFolders(ctx context.Context, in *listFoldersIn) ([]folderJSON, error) {
	list, err := a.folders(ctx, in)
	if err != nil {
		return nil, err
	}
	out := make([]folderJSON, len(list))
	for i, f := range list {
		if out[i], err = folderForm(f); err != nil {
			return nil, err
		}
	}
	return out, nil
}
