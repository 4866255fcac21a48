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
	{"DELETE /api/w/{workspace}/folders/delete/{name}", "/api/w/main/folders/delete/n", "", 200, textMime, []string{"n"}},
	{"GET /api/w/{workspace}/workspaces/tarball", "/api/w/main/workspaces/tarball?archive_type=rar", "", 400, textMime, []string{"Invalid Archive Type"}},
	{"GET /api/w/{workspace}/shared_ui/get", "/api/w/main/shared_ui/get", "", 200, jsonMime, []string{`"files":{}`}},
	{"GET /api/w/{workspace}/workspaces/get_settings", "/api/w/main/workspaces/get_settings", "", 200, jsonMime, []string{`"workspace_id":"main"`}},
}
