package httpapi

// folderRoutes are rows of the table of routes.
var folderRoutes = []struct {
	route, path, body string
	status            int
	mime              string
	want              []string
}{
	{"POST /api/w/{workspace}/folders/create", "/api/w/main/folders/create", `{"name":"n","summary":"S","owners":[],"extra_perms":{}}`, 200, textMime, []string{"/^n$/"}},
	{"POST /api/w/{workspace}/folders/update/{name}", "/api/w/main/folders/update/n", `{"owners":["u/x"]}`, 200, textMime, []string{"/^n$/"}},
	{"POST /api/w/{workspace}/folders/update/{name}", "/api/w/main/folders/update/none", `{"owners":[]}`, 404, textMime, []string{"none"}},
	{"GET /api/w/{workspace}/folders/get/{name}", "/api/w/main/folders/get/n", "", 200, jsonMime, []string{`"owners":["u/x"]`, `"summary":"S"`}},
	{"GET /api/w/{workspace}/folders/get/{name}", "/api/w/main/folders/get/none", "", 404, textMime, []string{"none"}},
	{"GET /api/w/{workspace}/folders/exists/{name}", "/api/w/main/folders/exists/n", "", 200, jsonMime, []string{"/^true$/"}},
	{"GET /api/w/{workspace}/folders/list", "/api/w/main/folders/list", "", 200, jsonMime, []string{`"name":"n"`}},
	{"GET /api/w/{workspace}/folders/listnames", "/api/w/main/folders/listnames", "", 200, jsonMime, []string{`"n"`}},
	{"POST /api/w/{workspace}/folders/addowner/{name}", "/api/w/main/folders/addowner/n", `{"owner":"g/devs"}`, 200, textMime, []string{"g/devs"}},
	{"POST /api/w/{workspace}/folders/addowner/{name}", "/api/w/main/folders/addowner/n", `{"owner":"devs"}`, 400, textMime, []string{"owner"}},
	{"POST /api/w/{workspace}/folders/removeowner/{name}", "/api/w/main/folders/removeowner/n", `{"owner":"u/x","write":false}`, 200, textMime, []string{"u/x"}},
	{"GET /api/w/{workspace}/folders/get/{name}", "/api/w/main/folders/get/n", "", 200, jsonMime, []string{`"owners":["g/devs"]`, `"extra_perms":{"u/x":false}`}},
	{"GET /api/w/{workspace}/folders/is_owner/{name}", "/api/w/main/folders/is_owner/n", "", 200, jsonMime, []string{"/^true$/"}},
	{"POST /api/w/{workspace}/groups/create", "/api/w/main/groups/create", `{"name":"devs","summary":"S"}`, 200, textMime, []string{"/^devs$/"}},
	{"POST /api/w/{workspace}/groups/create", "/api/w/main/groups/create", `{"name":"devs"}`, 409, textMime, []string{"devs"}},
	{"POST /api/w/{workspace}/groups/create", "/api/w/main/groups/create", `{"name":"all"}`, 409, textMime, []string{"all"}},
	{"POST /api/w/{workspace}/groups/update/{name}", "/api/w/main/groups/update/devs", `{"summary":"T"}`, 200, textMime, []string{"devs"}},
	{"POST /api/w/{workspace}/groups/adduser/{name}", "/api/w/main/groups/adduser/devs", `{"username":"nobody"}`, 404, textMime, []string{"nobody"}},
	{"POST /api/w/{workspace}/groups/removeuser/{name}", "/api/w/main/groups/removeuser/devs", `{"username":"nobody"}`, 404, textMime, []string{"nobody"}},
	{"GET /api/w/{workspace}/groups/get/{name}", "/api/w/main/groups/get/devs", "", 200, jsonMime, []string{`"summary":"T"`, `"members":[]`, `"extra_perms":{}`}},
	{"GET /api/w/{workspace}/groups/list", "/api/w/main/groups/list", "", 200, jsonMime, []string{`"name":"all"`, `"name":"devs"`}},
	{"GET /api/w/{workspace}/groups/listnames", "/api/w/main/groups/listnames", "", 200, jsonMime, []string{`/^\["all","devs"\]$/`}},
	{"POST /api/w/{workspace}/acls/add/{kind}/{path...}", "/api/w/main/acls/add/script/f/x/hello", `{"owner":"g/devs","write":true}`, 200, textMime, nil},
	{"POST /api/w/{workspace}/acls/add/{kind}/{path...}", "/api/w/main/acls/add/app/f/x/hello", `{"owner":"g/devs"}`, 400, textMime, []string{"kind"}},
	{"GET /api/w/{workspace}/acls/get/{kind}/{path...}", "/api/w/main/acls/get/script/f/x/hello", "", 200, jsonMime, []string{`/^{"g/devs":true}$/`}},
	{"POST /api/w/{workspace}/acls/remove/{kind}/{path...}", "/api/w/main/acls/remove/script/f/x/hello", `{"owner":"g/devs"}`, 200, textMime, nil},
	{"DELETE /api/w/{workspace}/groups/delete/{name}", "/api/w/main/groups/delete/devs", "", 200, textMime, []string{"devs"}},
	{"GET /api/w/{workspace}/users/get/{username}", "/api/w/main/users/get/nobody", "", 404, textMime, []string{"nobody"}},
	{"DELETE /api/w/{workspace}/folders/delete/{name}", "/api/w/main/folders/delete/n", "", 200, textMime, []string{"n"}},
	{"GET /api/w/{workspace}/workspaces/tarball", "/api/w/main/workspaces/tarball?archive_type=rar", "", 400, textMime, []string{"Invalid Archive Type"}},
	{"GET /api/w/{workspace}/shared_ui/get", "/api/w/main/shared_ui/get", "", 200, jsonMime, []string{`"files":{}`}},
	{"GET /api/w/{workspace}/workspaces/get_settings", "/api/w/main/workspaces/get_settings", "", 200, jsonMime, []string{`"workspace_id":"main"`}},
}
