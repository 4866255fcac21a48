package check

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const chartDir = "../helm/sluice"

// chart is what the templates made of some values.
type chart struct {
	t           *testing.T
	deployments map[string]*appsv1.Deployment // by component
	services    []*corev1.Service
	secrets     []*corev1.Secret
	budgets     []*policyv1.PodDisruptionBudget
}

// values reads the chart's own and sets some of them.
func values(t *testing.T, set map[string]any) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	v := map[string]any{}
	if err := yaml.UnmarshalStrict(text, &v); err != nil {
		t.Fatal(err)
	}
	for path, value := range set {
		at, names := v, strings.Split(path, ".")
		for _, name := range names[:len(names)-1] {
			at = at[name].(map[string]any)
		}
		if _, ok := at[names[len(names)-1]]; !ok {
			t.Fatalf("values.yaml has no %s", path)
		}
		at[names[len(names)-1]] = value
	}
	return v
}

// render does what Helm does with what this chart uses of it: the functions of
// Sprig, include, required, toYaml. A value that values.yaml does not have is an
// error, which it would not be to Helm.
func render(t *testing.T, set map[string]any) (map[string]string, error) {
	t.Helper()
	meta := struct{ APIVersion, Name, Description, Type, Version, AppVersion, KubeVersion string }{}
	text, err := os.ReadFile(filepath.Join(chartDir, "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &meta); err != nil {
		t.Fatal(err)
	}
	all := template.New("").Option("missingkey=error")
	funcs := sprig.TxtFuncMap()
	maps.Copy(funcs, template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var b strings.Builder
			err := all.ExecuteTemplate(&b, name, data)
			return b.String(), err
		},
		"required": func(why string, value any) (any, error) {
			if value == nil || value == "" {
				return nil, errors.New(why)
			}
			return value, nil
		},
		"toYaml": func(v any) (string, error) {
			b, err := yaml.Marshal(v)
			return strings.TrimSuffix(string(b), "\n"), err
		},
	})
	all.Funcs(funcs)
	files, err := filepath.Glob(filepath.Join(chartDir, "templates", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("templates: %v %v", files, err)
	}
	if _, err := all.ParseFiles(files...); err != nil {
		t.Fatal(err)
	}
	data := map[string]any{
		"Values":  values(t, set),
		"Chart":   meta,
		"Release": map[string]any{"Name": "prod", "Namespace": "jobs", "Service": "Helm"},
	}
	out := map[string]string{}
	for _, file := range files {
		var b bytes.Buffer
		if err := all.ExecuteTemplate(&b, filepath.Base(file), data); err != nil {
			return nil, err
		}
		out[filepath.Base(file)] = b.String()
	}
	return out, nil
}

// rendered reads what the templates made as the API server would with strict
// validation: an unknown or repeated field is an error.
func rendered(t *testing.T, set map[string]any) *chart {
	t.Helper()
	out, err := render(t, set)
	if err != nil {
		t.Fatal(err)
	}
	c := &chart{t: t, deployments: map[string]*appsv1.Deployment{}}
	for file, text := range out {
		if !strings.HasSuffix(file, ".yaml") {
			continue
		}
		documents := utilyaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(text)))
		for {
			b := make([]byte, 1<<20)
			n, err := documents.Read(b)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if doc := bytes.TrimSpace(b[:n]); len(doc) > 0 {
				if err := c.add(doc); err != nil {
					t.Fatalf("%s: %v\n%s", file, err, doc)
				}
			}
		}
	}
	return c
}

func (c *chart) add(doc []byte) error {
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(doc, &kind); err != nil {
		return err
	}
	var object any
	switch kind.APIVersion + " " + kind.Kind {
	case "apps/v1 Deployment":
		d := &appsv1.Deployment{}
		object = d
		defer func() { c.deployments[d.Spec.Template.Labels["app.kubernetes.io/component"]] = d }()
	case "v1 Service":
		s := &corev1.Service{}
		object, c.services = s, append(c.services, s)
	case "v1 Secret":
		s := &corev1.Secret{}
		object, c.secrets = s, append(c.secrets, s)
	case "policy/v1 PodDisruptionBudget":
		b := &policyv1.PodDisruptionBudget{}
		object, c.budgets = b, append(c.budgets, b)
	default:
		return fmt.Errorf("unknown: %+v", kind)
	}
	return yaml.UnmarshalStrict(doc, object)
}

var given = map[string]any{"databaseURL": "postgres://u:p@db/sluice", "token": "a-token"}

// TestChart renders the chart in the ways in which it is used.
func TestChart(t *testing.T) {
	with := func(more map[string]any) map[string]any {
		set := maps.Clone(given)
		maps.Copy(set, more)
		return set
	}
	tests := map[string]map[string]any{
		"plain":    given,
		"no walls": with(map[string]any{"workers.walls": false}),
		"TLS":      with(map[string]any{"tlsSecret": "certificate", "workerToken": "w", "secretKey": "k"}),
		"own secret": {
			"existingSecret": "mine", "imagePullSecrets": []any{map[string]any{"name": "registry"}}, "image.tag": "1.2.3",
			"server.nodeSelector": map[string]any{"disk": "ssd"}, "workers.nodeSelector": map[string]any{"pool": "jobs"},
			"server.tolerations": []any{map[string]any{"operator": "Exists"}}, "workers.tolerations": []any{map[string]any{"operator": "Exists"}},
		},
	}
	for name, set := range tests {
		t.Run(name, func(t *testing.T) { rendered(t, set).check(set) })
	}
	for missing := range given {
		set := maps.Clone(given)
		delete(set, missing)
		if _, err := render(t, set); err == nil || !strings.Contains(err.Error(), missing+" is needed") {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

// check holds the objects against each other.
func (c *chart) check(set map[string]any) {
	t := c.t
	t.Helper()
	server, worker := c.deployments["server"], c.deployments["worker"]
	if len(c.deployments) != 2 || server == nil || worker == nil || len(c.services) != 1 || len(c.budgets) != 2 {
		t.Fatalf("the objects are %+v", c)
	}
	for _, d := range []*appsv1.Deployment{server, worker} {
		c.checkPod(d, set)
	}
	if !selects(&metav1.LabelSelector{MatchLabels: c.services[0].Spec.Selector}, server) || selects(&metav1.LabelSelector{MatchLabels: c.services[0].Spec.Selector}, worker) {
		t.Error("the Service does not select the servers alone")
	}
	for component, d := range c.deployments {
		n := 0
		for _, b := range c.budgets {
			if selects(b.Spec.Selector, d) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d PodDisruptionBudgets for each %s", n, component)
		}
	}
	main := server.Spec.Template.Spec.Containers[0]
	for name, probe := range map[string]*corev1.Probe{"/health": main.LivenessProbe, "/ready": main.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != name || probe.HTTPGet.Port.StrVal != main.Ports[0].Name {
			t.Errorf("the probe of %s is %+v", name, probe)
		} else if tls := set["tlsSecret"] != nil; (probe.HTTPGet.Scheme == corev1.URISchemeHTTPS) != tls {
			t.Errorf("the probe of %s speaks %s", name, probe.HTTPGet.Scheme)
		}
	}
	if c.services[0].Spec.Ports[0].TargetPort.StrVal != main.Ports[0].Name {
		t.Error("the Service leads to another port")
	}
	c.checkWalls(set["workers.walls"] != false)
}

// checkWalls looks at what the worker's pod has so that its jobs can have walls.
func (c *chart) checkWalls(walls bool) {
	pod := c.deployments["worker"].Spec.Template.Spec
	main := pod.Containers[0]
	isolation := ""
	for _, e := range main.Env {
		if e.Name == "SLUICE_ISOLATION" {
			isolation = e.Value
		}
	}
	ownUsers := pod.HostUsers != nil && !*pod.HostUsers
	unmasked := main.SecurityContext.ProcMount != nil && *main.SecurityContext.ProcMount == corev1.UnmaskedProcMount
	unconfined := pod.SecurityContext.SeccompProfile.Type == corev1.SeccompProfileTypeUnconfined
	if ownUsers != walls || unmasked != walls || unconfined != walls || (isolation == "required") != walls {
		c.t.Errorf("walls %t: own users %t, whole /proc %t, no seccomp profile %t, isolation %s", walls, ownUsers, unmasked, unconfined, isolation)
	}
}

// checkPod looks at what both kinds of pods must have.
func (c *chart) checkPod(d *appsv1.Deployment, set map[string]any) {
	t, pod := c.t, d.Spec.Template.Spec
	t.Helper()
	if !selects(d.Spec.Selector, d) {
		t.Errorf("%s does not select its own pods", d.Name)
	}
	main := pod.Containers[0]
	s := main.SecurityContext
	if !*pod.SecurityContext.RunAsNonRoot || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || s.Privileged != nil ||
		!slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || *pod.AutomountServiceAccountToken {
		t.Errorf("%s has rights that it does not need: %+v %+v", d.Name, pod.SecurityContext, s)
	}
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
	}
	for _, m := range main.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("%s mounts %s, which is no volume", d.Name, m.Name)
		}
	}
	secrets := map[string]map[string]string{}
	for _, s := range c.secrets {
		secrets[s.Name] = s.StringData
	}
	for _, e := range main.Env {
		if e.ValueFrom == nil {
			continue
		}
		ref := e.ValueFrom.SecretKeyRef
		if secrets[ref.Name][ref.Key] == "" && ref.Name != set["existingSecret"] && (ref.Optional == nil || set["secretKey"] != nil) {
			t.Errorf("%s: %s is not in a secret: %+v", d.Name, e.Name, ref)
		}
		if d == c.deployments["worker"] && ref.Key == "database-url" {
			t.Error("the workers know the database")
		}
	}
}

func selects(s *metav1.LabelSelector, d *appsv1.Deployment) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && !selector.Empty() && selector.Matches(labels.Set(d.Spec.Template.Labels))
}
