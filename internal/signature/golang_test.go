package signature

import (
	"strings"
	"testing"
)

func TestGo(t *testing.T) {
	tests := []struct{ code, want string }{
		{`func main(a string, n int) (interface{}, error) { return nil, nil }`, "a str, n int"},
		{`func main() {}`, ""},
		{`func other(a string) {}`, "no main"},
		{`type T struct{}; func (t T) main(a string) {}`, "no main"},
		{
			`func main(a, b string, c float64, d bool, e []byte, f []string, g [][]int64) {}`,
			"a str, b str, c float, d bool, e bytes, f {list:str}, g {list:{list:int}}",
		},
		{
			`func main(a any, b interface{}, c map[string]int, d error, e func(int), f chan int, g json.RawMessage) {}`,
			"a unknown, b unknown, c {object:[]}, d unknown, e unknown, f unknown, g unknown",
		},
		{`func main(a *string, b time.Time, c (int), rest ...int) {}`, "a? str, b datetime, c int, rest? {list:int} ..."},
		{
			"func main(s struct { Name string `json:\"name\"`; N *int; hidden bool; Skip int `json:\"-\"`; X string `yaml:\"x\"` }) {}",
			"s {object:[{key:name,typ:str},{key:N,typ:int},{key:X,typ:str}]}",
		},
		{
			"type Base struct { ID int }\ntype P struct { Base; Who Name }\ntype Name string\nfunc main(p P) {}",
			"p {object:[{key:ID,typ:int},{key:Who,typ:str}]}",
		},
		{"type T struct { Next *T; L []T }\nfunc main(t T) {}", "t {object:[{key:Next,typ:{object:[]}},{key:L,typ:{list:{object:[]}}}]}"},
		{"func main(x int) {}\nfunc preprocessor(event map[string]any) {}", "x int, preprocessor"},
		{"type G[T any] struct { V T }\nfunc main(g G[int]) {}", "g unknown"},
		{`func main(string) {}`, "line 2, column 11: give every parameter of main a name: arguments are passed by name"},
		{`func main(_ string) {}`, "line 2, column 11: _ is no name for an argument"},
		{`func main(a int, a string) {}`, "line 2, column 10: two arguments are called a"},
		{"//line x.go:99\nfunc main(é int, ) { if }", "line 3, column 25: expected operand, found '}'"},
	}
	for _, tt := range tests {
		check(t, "go", "package inner\n"+tt.code, tt.want)
	}
	check(t, "go", "func main() {}", "line 1, column 1: expected 'package', found 'func'")
}

// Types that double with every step end at a bound.
func TestGoBounds(t *testing.T) {
	for _, fields := range []string{"A, B %; C %", "A, B %", "A %; B %", "A []%; B *%"} {
		var b strings.Builder
		b.WriteString("package inner\ntype T0 struct { A int }\n")
		for i := 1; i <= 60; i++ {
			b.WriteString("type T" + itoa(i) + " struct { " + strings.ReplaceAll(fields, "%", "T"+itoa(i-1)) + " }\n")
		}
		b.WriteString("func main(x T60) {}")
		check(t, "go", b.String(), "line 63, column 11: the types of the arguments are too large")
	}
	check(t, "go", "package inner\nfunc main("+strings.Repeat("a, ", MaxArgs)+"b int) {}", "line 2, column 11: more than 1000 arguments")
	if sig, err := Parse("go", "package inner\nfunc main(a "+strings.Repeat("[]", 200_000)+"int) {}"); err == nil {
		t.Errorf("a type of 200,000 brackets: %s", shape(sig))
	}
}

func FuzzGo(f *testing.F) {
	fuzz(f, "go", "package inner\nfunc main(a string, s struct{ X []T `json:\"x\"`}, r ...int) (any, error) { return nil, nil }\ntype T *T\n", "package x; func preprocessor(m map[string]any) {}")
}
