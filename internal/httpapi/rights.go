package httpapi

import (
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sluice"
	"sluice/internal/store"
)

// level is what somebody must be to call an operation.
type level int

// The levels, least first. Those of a role ask for it in the workspace that
// the path names.
const (
	levelUnknown   level = iota
	levelAnybody         // no token needed
	levelSigned          // any token
	levelOperator        // …
	levelDeveloper       // …
	levelAdmin           // …
	levelSuper           // an administrator of the instance
)

var rolesOf = map[level]sluice.Role{
	levelOperator: sluice.RoleOperator, levelDeveloper: sluice.RoleDeveloper, levelAdmin: sluice.RoleAdmin,
}

// right is what an operation asks of its caller, and how it is recorded.
type right struct {
	level level
	// scope is what a token with scopes needs; zero: nothing.
	scope scope
	// late: the handler knows the path that the scope may be narrowed to, and
	// asks [caller.may] for it.
	late bool
	// person: not for the token of a job. whole: only for a token that has all
	// rights of its owner, since it could give them to itself otherwise.
	person, whole bool
	// audit is the operation's name in the audit log and kind what it does;
	// "" if it changes nothing, or its change tells itself who made it.
	audit, kind string
	// thing says of what the caller needs which right, beside its role.
	thing thing
}

// thing is what an operation is about, and what somebody must be allowed to do
// with it. The zero value: it is about no one thing.
type thing struct {
	kind string // one of package store's, or kindJob; "": the handler asks
	need store.Right
	late bool // the handler asks, or the engine within its transaction
}

// kindJob is the kind of jobs, which are named by {id}; all other things are
// named by {path}.
const kindJob = "job"

func anybody() right { return right{level: levelAnybody} }
func signed() right  { return right{level: levelSigned} }

// needs asks for a level and a scope.
func needs(l level, scopeText string) right {
	s, err := readScope(scopeText)
	if err != nil {
		panic("httpapi: " + scopeText + ": " + err.Error()) // the table below is wrong
	}
	return right{level: l, scope: s}
}

func (r right) atPathOfBody() right { r.late = true; return r }
func (r right) byPerson() right     { r.person = true; return r }
func (r right) byWholeToken() right { r.person, r.whole = true, true; return r }

// reads and writes say what it takes to call an operation on a thing, asks that
// its handler asks for that, since only it knows the thing.
func (r right) reads(kind string) right {
	r.thing = thing{kind: kind, need: store.RightRead}
	return r
}

func (r right) writes(kind string) right {
	r.thing = thing{kind: kind, need: store.RightWrite}
	return r
}

func (r right) asks() right { r.thing = thing{late: true}; return r }

// records has the operation written into the audit log.
func (r right) records(name, kind string) right {
	r.audit, r.kind = name, kind
	return r
}

// Kinds of entries of the audit log, as Windmill names them.
const (
	kindCreate  = "Create"
	kindUpdate  = "Update"
	kindDelete  = "Delete"
	kindExecute = "Execute"
)

// rights says of every operation who may call it. It is the one place where
// that is decided; an operation without a row cannot be registered. What a
// handler asks beside it is said in the row's comment.
var rights = map[string]right{
	"version": anybody(), "health": anybody(), "healthAtRoot": anybody(), "ready": anybody(), "readyAtRoot": anybody(),
	"openapi": signed().byPerson(), "openapiDefault": signed().byPerson(), "openapiYAML": signed().byPerson(),
	"metrics":        needs(levelSuper, "metrics:read").byPerson(),
	"healthDetailed": needs(levelSuper, "metrics:read").byPerson(),

	"login":  anybody().records("users.login", kindExecute),
	"logout": signed().byPerson().records("users.logout", kindExecute),

	"globalWhoami": signed(), "whoami": {level: levelOperator},
	"listTokens":            signed().byWholeToken(),
	"createToken":           signed().byWholeToken().records("users.token.create", kindCreate),
	"deleteToken":           signed().byWholeToken().records("users.token.delete", kindDelete),
	"setPassword":           signed().byWholeToken().records("users.setpassword", kindUpdate),
	"createUserGlobally":    {level: levelSuper, person: true, whole: true, audit: "users.create", kind: kindCreate},
	"globalUserUpdate":      {level: levelSuper, person: true, whole: true, audit: "users.update", kind: kindUpdate},
	"globalUserDelete":      {level: levelSuper, person: true, whole: true, audit: "users.delete", kind: kindDelete},
	"listUsersAsSuperAdmin": needs(levelSuper, "users:read").byPerson(),
	"listUsers":             needs(levelOperator, "users:read").byPerson(),
	"getUser":               needs(levelOperator, "users:read"),
	"usernameToEmail":       needs(levelOperator, "users:read"),
	"addUser":               needs(levelAdmin, "users:write").byPerson().records("users.add_to_workspace", kindCreate),
	"updateUser":            needs(levelAdmin, "users:write").byPerson().records("users.update", kindUpdate),
	"deleteUser":            needs(levelAdmin, "users:write").byPerson().records("users.delete", kindDelete),
	"listAuditLogs":         needs(levelAdmin, "audit_logs:read").byPerson(),

	"listWorkspaces": signed().byPerson(), "listUserWorkspaces": signed().byPerson(), "existsWorkspace": signed().byPerson(),
	"automateUsernames":  signed().byPerson(),
	"createWorkspace":    needs(levelSuper, "workspaces:write").byPerson().records("workspaces.create", kindCreate),
	"archiveWorkspace":   needs(levelAdmin, "workspaces:write").byPerson().records("workspaces.archive", kindUpdate),
	"unarchiveWorkspace": needs(levelSuper, "workspaces:write").byPerson().records("workspaces.unarchive", kindUpdate),

	"listWorkerGroups": needs(levelSigned, "workers:read").byPerson(),
	"listWorkers":      needs(levelSigned, "workers:read").byPerson(),

	// Whoever may do these sees the code and the arguments of all jobs.
	"workTerms": needs(levelSuper, "workers:write").byPerson(), "workTake": needs(levelSuper, "workers:write").byPerson(),
	"workSettle": needs(levelSuper, "workers:write").byPerson(), "workConfirm": needs(levelSuper, "workers:write").byPerson(),
	"workHandBack": needs(levelSuper, "workers:write").byPerson(), "workHeartbeat": needs(levelSuper, "workers:write").byPerson(),
	"workOrders": needs(levelSuper, "workers:write").byPerson(), "workLog": needs(levelSuper, "workers:write").byPerson(),
	"workGone": needs(levelSuper, "workers:write").byPerson(),

	"createScript":              needs(levelDeveloper, "scripts:write").atPathOfBody().records("scripts.create", kindCreate).asks(),
	"createScriptSnapshot":      needs(levelDeveloper, "scripts:write"),
	"getScriptByPath":           needs(levelOperator, "scripts:read").reads(store.KindScript),
	"getScriptByHash":           needs(levelOperator, "scripts:read").atPathOfBody().asks(),
	"listScripts":               needs(levelOperator, "scripts:read").asks(),
	"getScriptHistoryByPath":    needs(levelOperator, "scripts:read").reads(store.KindScript),
	"getScriptDeploymentStatus": needs(levelOperator, "scripts:read").asks(),
	"archiveScriptByPath":       needs(levelDeveloper, "scripts:write").records("scripts.archive", kindDelete).writes(store.KindScript),
	"archiveScriptByHash":       needs(levelDeveloper, "scripts:write").records("scripts.archive", kindDelete).asks(),
	"deleteScriptByPath":        needs(levelAdmin, "scripts:write").records("scripts.delete", kindDelete).writes(store.KindScript),
	"deleteScriptByHash":        needs(levelAdmin, "scripts:write").records("scripts.delete", kindDelete).asks(),
	"diffScripts":               needs(levelOperator, "scripts:read").asks(),
	"diffRawTemp":               needs(levelOperator, "scripts:read").asks(),
	"storeRawTemp":              needs(levelDeveloper, "scripts:read"), // nothing is stored

	"createFlow":        needs(levelDeveloper, "flows:write").atPathOfBody().records("flows.create", kindCreate).asks(),
	"updateFlow":        needs(levelDeveloper, "flows:write").records("flows.update", kindUpdate).asks(), // at the path in the body, too
	"getFlowByPath":     needs(levelOperator, "flows:read").reads(store.KindFlow),
	"getFlowVersion":    needs(levelOperator, "flows:read").atPathOfBody().asks(),
	"listFlows":         needs(levelOperator, "flows:read").asks(),
	"listFlowPaths":     needs(levelOperator, "flows:read").asks(),
	"existsFlowByPath":  needs(levelOperator, "flows:read").asks(),
	"getFlowHistory":    needs(levelOperator, "flows:read").reads(store.KindFlow),
	"archiveFlowByPath": needs(levelDeveloper, "flows:write").records("flows.archive", kindDelete).writes(store.KindFlow),
	"deleteFlowByPath":  needs(levelDeveloper, "flows:write").records("flows.delete", kindDelete).writes(store.KindFlow),

	"createSchedule":        needs(levelDeveloper, "schedules:write").atPathOfBody().records("schedules.create", kindCreate).asks(),
	"updateSchedule":        needs(levelDeveloper, "schedules:write").records("schedules.update", kindUpdate).asks(),
	"setScheduleEnabled":    needs(levelDeveloper, "schedules:write").records("schedules.setenabled", kindUpdate).asks(),
	"deleteSchedule":        needs(levelDeveloper, "schedules:write").records("schedules.delete", kindDelete).asks(),
	"getSchedule":           needs(levelOperator, "schedules:read").asks(),
	"existsSchedule":        needs(levelOperator, "schedules:read").asks(),
	"listSchedules":         needs(levelOperator, "schedules:read").asks(),
	"listSchedulesWithJobs": needs(levelOperator, "schedules:read").asks(),
	"previewSchedule":       signed().byPerson(),

	// An operator does not see secrets; its jobs do.
	"createVariable":   needs(levelDeveloper, "variables:write").atPathOfBody().records("variables.create", kindCreate).asks(),
	"updateVariable":   needs(levelDeveloper, "variables:write").records("variables.update", kindUpdate).asks(), // at the path in the body, too
	"deleteVariable":   needs(levelDeveloper, "variables:write").records("variables.delete", kindDelete).asks(),
	"getVariable":      needs(levelOperator, "variables:read").asks(), // a secret that a person sees is recorded
	"getVariableValue": needs(levelOperator, "variables:read").asks(), // the same
	"existsVariable":   needs(levelOperator, "variables:read").asks(),
	"listVariable":     needs(levelOperator, "variables:read").asks(),
	"rotateKeys":       {level: levelSuper, person: true, whole: true, audit: "settings.rotate_keys", kind: kindUpdate},

	// A developer writes resources; jobs of operators write those of type state.
	"createResource":               needs(levelOperator, "resources:write").atPathOfBody().records("resources.create", kindCreate).asks(),
	"updateResource":               needs(levelDeveloper, "resources:write").records("resources.update", kindUpdate).asks(), // at the path in the body, too
	"updateResourceValue":          needs(levelOperator, "resources:write").records("resources.update", kindUpdate).asks(),
	"deleteResource":               needs(levelDeveloper, "resources:write").records("resources.delete", kindDelete).asks(),
	"getResource":                  needs(levelOperator, "resources:read").asks(),
	"getResourceValue":             needs(levelOperator, "resources:read").asks(),
	"getResourceValueInterpolated": needs(levelOperator, "resources:read").asks(), // an operator only if no secret is in it
	"existsResource":               needs(levelOperator, "resources:read").asks(),
	"listResource":                 needs(levelOperator, "resources:read").asks(),
	"listResourceType":             needs(levelOperator, "resources:read"),
	"fileResourceTypeToFileExtMap": needs(levelOperator, "resources:read"),

	// At the folder of the path, where the handler asks for it.
	"createFolder":        needs(levelDeveloper, "folders:write").atPathOfBody().records("folders.create", kindCreate).asks(),
	"updateFolder":        needs(levelDeveloper, "folders:write").atPathOfBody().records("folders.update", kindUpdate).asks(),
	"deleteFolder":        needs(levelDeveloper, "folders:write").atPathOfBody().records("folders.delete", kindDelete).asks(),
	"getFolder":           needs(levelOperator, "folders:read").atPathOfBody().asks(),
	"existsFolder":        needs(levelOperator, "folders:read").atPathOfBody().asks(),
	"listFolders":         needs(levelOperator, "folders:read").asks(),
	"listFolderNames":     needs(levelOperator, "folders:read").asks(),
	"addOwnerToFolder":    needs(levelDeveloper, "folders:write").atPathOfBody().records("folders.add_owner", kindUpdate).asks(),
	"removeOwnerToFolder": needs(levelDeveloper, "folders:write").atPathOfBody().records("folders.remove_owner", kindUpdate).asks(),
	"isOwnerOfFolder":     needs(levelOperator, "folders:read").asks(),

	// Groups of people are seen by all; who manages one changes it.
	"createUserGroup":    needs(levelDeveloper, "groups:write").records("groups.create", kindCreate),
	"updateUserGroup":    needs(levelDeveloper, "groups:write").records("groups.update", kindUpdate).asks(),
	"deleteUserGroup":    needs(levelDeveloper, "groups:write").records("groups.delete", kindDelete).asks(),
	"addUserToGroup":     needs(levelDeveloper, "groups:write").records("groups.add_user", kindUpdate).asks(),
	"removeUserToGroup":  needs(levelDeveloper, "groups:write").records("groups.remove_user", kindUpdate).asks(),
	"getUserGroup":       needs(levelOperator, "groups:read").asks(),
	"listUserGroups":     needs(levelOperator, "groups:read"),
	"listUserGroupNames": needs(levelOperator, "groups:read"),
	"getGranularAcls":    needs(levelOperator, "acls:read").asks(),
	"addGranularAcls":    needs(levelDeveloper, "acls:write").records("acls.add", kindUpdate).asks(),
	"removeGranularAcls": needs(levelDeveloper, "acls:write").records("acls.remove", kindUpdate).asks(),

	"tarballWorkspace": needs(levelOperator, "workspaces:read").asks(), // and to read each kind of thing that is in it
	"getSharedUi":      needs(levelOperator, "workspaces:read"),
	"getSettings":      needs(levelOperator, "workspaces:read"),

	// There are no drafts: these change nothing.
	"createDraft":              needs(levelDeveloper, "scripts:write"),
	"deleteDraft":              needs(levelDeveloper, "scripts:write"),
	"getScriptByPathWithDraft": needs(levelOperator, "scripts:read"),

	// Who pushed a job is a field of the job: pushes leave no entry.
	"runScriptByPath":               needs(levelOperator, "jobs:run:scripts").asks(),
	"runScriptByHash":               needs(levelOperator, "jobs:run:scripts").atPathOfBody().asks(),
	"runScriptByPathGet":            needs(levelOperator, "jobs:run:scripts").asks(),
	"runScriptByHashGet":            needs(levelOperator, "jobs:run:scripts").atPathOfBody().asks(),
	"runWaitResultByPath":           needs(levelOperator, "jobs:run:scripts").asks(),
	"runWaitResultByPathGet":        needs(levelOperator, "jobs:run:scripts").asks(),
	"runWaitResultByHash":           needs(levelOperator, "jobs:run:scripts").atPathOfBody().asks(),
	"runWaitResultByHashGet":        needs(levelOperator, "jobs:run:scripts").atPathOfBody().asks(),
	"runScriptPreview":              needs(levelDeveloper, "jobs:run:preview"),
	"runRawScriptDependencies":      needs(levelDeveloper, "jobs:run:preview"),
	"runRawScriptDependenciesAsync": needs(levelDeveloper, "jobs:run:preview"),
	"runFlowByPath":                 needs(levelOperator, "jobs:run:flows").asks(),
	"runFlowByPathGet":              needs(levelOperator, "jobs:run:flows").asks(),
	"runWaitResultFlowByPath":       needs(levelOperator, "jobs:run:flows").asks(),
	"runWaitResultFlowByPathGet":    needs(levelOperator, "jobs:run:flows").asks(),
	"restartFlowAtStep":             needs(levelOperator, "jobs:run:flows").atPathOfBody().reads(kindJob), // of a flow that is not saved: as a preview
	"runFlowPreview":                needs(levelDeveloper, "jobs:run:preview").asks(),
	"runFlowDependenciesAsync":      needs(levelDeveloper, "jobs:run:preview"),
	"batchReRunJobs":                {level: levelOperator, scope: scope{domain: "jobs", action: "run"}, late: true, thing: thing{late: true}}, // job by job, as the calls above
	"runBulk":                       {level: levelOperator, scope: scope{domain: "jobs", action: "run"}, late: true, thing: thing{late: true}}, // job by job, as the calls above

	"getJob":                     needs(levelOperator, "jobs:read").reads(kindJob),
	"getJobLogs":                 needs(levelOperator, "jobs:read").reads(kindJob),
	"getCompletedJob":            needs(levelOperator, "jobs:read").reads(kindJob),
	"getCompletedJobResult":      needs(levelOperator, "jobs:read").reads(kindJob),
	"getCompletedJobResultMaybe": needs(levelOperator, "jobs:read").reads(kindJob),
	"getJobUpdates":              needs(levelOperator, "jobs:read").reads(kindJob),
	"getJobWait":                 needs(levelOperator, "jobs:read").reads(kindJob),
	"jobEvents":                  needs(levelOperator, "jobs:read").reads(kindJob),
	"workspaceEvents":            needs(levelOperator, "jobs:read").asks(),
	"getQueuePosition":           needs(levelOperator, "jobs:read"),
	"getScheduledFor":            needs(levelOperator, "jobs:read").reads(kindJob),
	"listJobs":                   needs(levelOperator, "jobs:read").asks(),
	"listQueue":                  needs(levelOperator, "jobs:read").asks(),
	"listCompletedJobs":          needs(levelOperator, "jobs:read").asks(),
	"listFilteredJobsUuids":      needs(levelOperator, "jobs:read").asks(),
	"listFilteredQueueUuids":     needs(levelOperator, "jobs:read").asks(),
	"getQueueCount":              needs(levelOperator, "jobs:read").asks(),
	"getCompletedCount":          needs(levelOperator, "jobs:read").asks(),
	"listWsSpecific":             needs(levelOperator, "scripts:read"),
	"countCompletedJobsByTag":    needs(levelSigned, "jobs:read").byPerson(), // of a workspace: for its members; of all: for administrators of the instance
	"getDbClock":                 signed(),
	"getJobUpdatesSSE":           needs(levelOperator, "jobs:read").reads(kindJob),
	"getRootJobId":               needs(levelOperator, "jobs:read").reads(kindJob),
	"countCompletedJobs":         needs(levelOperator, "jobs:read").asks(),
	"getJobProgress":             needs(levelOperator, "jobs:read").reads(kindJob),
	"getFlowUserState":           needs(levelOperator, "jobs:read").reads(kindJob),
	"setFlowUserState":           needs(levelOperator, "jobs:write").writes(kindJob), // of a job: for its own flow
	"setJobProgress":             needs(levelOperator, "jobs:write").writes(kindJob), // of a job: for itself and for those that it pushed
	// The signature in a link is the right. The job remembers who approved.
	"resumeSuspendedJobGet": anybody(), "resumeSuspendedJobPost": anybody(), "cancelSuspendedJobGet": anybody(), "cancelSuspendedJobPost": anybody(),
	"getSuspendedJobFlow": anybody(),
	"getResumeUrls":       needs(levelOperator, "jobs:write").writes(kindJob), // of a job: for its own flow; an operator for flows that it started
	"createJobSignature":  needs(levelOperator, "jobs:write").writes(kindJob), // the same
	// For who has started the flow, and administrators.
	"resumeSuspendedFlowAsOwner":     needs(levelOperator, "jobs:write").byPerson().records("jobs.resume", kindUpdate).reads(kindJob),
	"disapproveSuspendedFlowAsOwner": needs(levelOperator, "jobs:write").byPerson().records("jobs.disapprove", kindUpdate).reads(kindJob),
	// Whoever may write what a job runs cancels it, and everybody his own.
	"cancelQueuedJob":      needs(levelOperator, "jobs:write").records("jobs.cancel", kindDelete).writes(kindJob),
	"forceCancelQueuedJob": needs(levelOperator, "jobs:write").records("jobs.force_cancel", kindDelete).writes(kindJob),
	"cancelSelection":      needs(levelDeveloper, "jobs:write").records("jobs.cancel", kindDelete).asks(),

	// Keys are global: what is done to one is done to all workspaces.
	"listConcurrencyGroups":  needs(levelSuper, "concurrency_groups:read").byPerson(),
	"listGroups":             needs(levelSuper, "concurrency_groups:read").byPerson(),
	"getGroup":               needs(levelSuper, "concurrency_groups:read").byPerson(),
	"listGroupExecutions":    needs(levelSuper, "concurrency_groups:read").byPerson(),
	"deleteConcurrencyGroup": needs(levelSuper, "concurrency_groups:write").byPerson().records("concurrency_groups.prune", kindDelete),
	"setOverride":            needs(levelSuper, "concurrency_groups:write").byPerson().records("concurrency_groups.override", kindUpdate),
	"clearOverride":          needs(levelSuper, "concurrency_groups:write").byPerson().records("concurrency_groups.clear_override", kindDelete),
	"pauseGroup":             needs(levelSuper, "concurrency_groups:write").byPerson().records("concurrency_groups.pause", kindUpdate),
	"resumeGroup":            needs(levelSuper, "concurrency_groups:write").byPerson().records("concurrency_groups.resume", kindUpdate),
	"cancelGroup":            needs(levelSuper, "concurrency_groups:write").byPerson().records("concurrency_groups.cancel", kindDelete),
	"getConcurrencyKey":      needs(levelSigned, "jobs:read").byPerson().asks(), // of jobs that the caller may read
	"listExtendedJobs":       needs(levelOperator, "jobs:read").asks(),
	"planLimit":              signed().byPerson(),
	"scriptToJsonSchema":     signed().byPerson(), // reads what it is sent and nothing else
}

// authorize lets through who may call an operation. In a workspace in which
// the caller has no role, the answer is that there is none.
func (a *API) authorize(ctx huma.Context, next func(huma.Context)) {
	op := ctx.Operation()
	if err := allowed(callerOf(ctx.Context()), rights[op.OperationID], op, ctx.Param); err != nil {
		r, w := humago.Unwrap(ctx)
		a.refuse(w, r, err)
		return
	}
	next(ctx)
}

func allowed(c caller, need right, op *huma.Operation, param func(string) string) error {
	if need.level == levelAnybody {
		return nil
	}
	switch {
	case need.level == levelUnknown:
		return sluice.Errorf(sluice.CodeForbidden, "nobody may do this")
	case c.Kind == byNothing:
		return errNoToken
	case need.person && c.Kind == byJob:
		return sluice.Errorf(sluice.CodeForbidden, "a job may not do this; use the token of a person")
	case need.whole && c.restricted():
		return sluice.Errorf(sluice.CodeForbidden, "a token with scopes or for one workspace may not do this; sign in")
	}
	if err := c.reaches(need.level, op, param("workspace")); err != nil {
		return err
	}
	if need.scope == (scope{}) || need.late && c.mayInPart(need.scope) {
		return nil
	}
	want := need.scope
	if strings.HasSuffix(op.Path, "/{path...}") {
		want.paths = param("path")
	}
	return c.may(want)
}

// reaches checks the caller's level.
func (c caller) reaches(l level, op *huma.Operation, workspace string) error {
	inWorkspace := strings.Contains(op.Path, "{workspace}")
	switch {
	case inWorkspace && c.Workspace != "" && workspace != c.Workspace:
		return sluice.Errorf(sluice.CodeForbidden, "the token is good for its own workspace only, %s", c.Workspace)
	case l == levelSigned && !inWorkspace:
		return nil
	case l == levelSuper || inWorkspace && workspace == adminsID && op.Metadata[metaAdmins] == true:
		if !c.SuperAdmin {
			return sluice.Errorf(sluice.CodeForbidden, "only an administrator of the instance may do this")
		}
		return nil
	}
	have := c.role(workspace)
	if have == sluice.RoleNone {
		return noWorkspace(workspace)
	}
	if need := rolesOf[l]; !have.AtLeast(need) {
		return sluice.Errorf(sluice.CodeForbidden, "only a member with the role %s may do this; yours in %s is %s", need, workspace, have)
	}
	return nil
}

func noWorkspace(id string) error { return notFound("there is no workspace %q", id) }

// unrighted returns the operations of a document that rights does not know.
func unrighted(doc *huma.OpenAPI) []string {
	var missing []string
	for path, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete, item.Head, item.Options, item.Trace} {
			if op == nil {
				continue
			}
			if _, ok := rights[op.OperationID]; !ok {
				missing = append(missing, op.Method+" "+path+" ("+op.OperationID+")")
			}
		}
	}
	slices.Sort(missing)
	return missing
}
