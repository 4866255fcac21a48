package signature

import (
	"slices"
	"testing"
)

func TestBashParams(t *testing.T) {
	tests := []struct {
		name, code string
		want       []string
	}{
		{"none", "echo hi\n", nil},
		{"plain", `name="$1"`, []string{"name"}},
		{"unquoted", "name=$1\nother=$2", []string{"name", "other"}},
		{"braces", `a="${1}"` + "\nb=${2}", []string{"a", "b"}},
		{"default", `a="${1:-x y}"` + "\nb=${2-z}\nc=${3:?no}\nd=\"${4:=e}\"", []string{"a", "b", "c", "d"}},
		{"nested default", `a="${1:-"${HOME}/b}"}"`, []string{"a"}},
		{"out of order", "b=$2\na=$1", []string{"a", "b"}},
		{"gap", "c=$3\na=$1", []string{"a", "", "c"}},
		{"several on a line", `a=$1; b="$2" c=$3 && d=$4`, []string{"a", "b", "c", "d"}},
		{"first wins", "a=$1\nb=$1", []string{"a"}},
		{"comment", "# a=$1\nb=$2 # c=$3\n", []string{"", "b"}},
		{"hash in a word", "a=x#y b=$1", []string{"b"}},
		{"quotes", "echo 'a=$1\nb=$2'\necho \"c=$3\nd=$4\"\ne=$5", []string{"", "", "", "", "e"}},
		{"single quotes are no parameter", "a='$1'", nil},
		{"escaped", `a=\$1`, nil},
		{"ten", "a=$10\nb=${10}", []string{"", "", "", "", "", "", "", "", "", "b"}},
		{"zero and specials", "a=$0\nb=$#\nc=$@\nd=${0}\ne=$?", nil},
		{"part of a value", `a="x$1"` + "\nb=$1y\nc=\"$1 \"", nil},
		{"operations", "a=${1%x}\nb=${1#y}\nc=${1:2}\nd=${#1}\ne=${1^^}", nil},
		{"argument of a command", "echo a=$1\nenv b=$2 sh", nil},
		{"before a command", "A=$1 env", []string{"A"}},
		{"declaring commands", "export a=$1\nreadonly b=$2\ndeclare -r c=$3", []string{"a", "b", "c"}},
		{"function", "f() {\n  local x=$1\n  y=$2\n}\nz=$3", []string{"", "", "z"}},
		{"function keyword", "function f {\n x=$1\n if true; then { y=$2; }; fi\n}\nz=$3\n", []string{"", "", "z"}},
		{"function with parentheses", "f() ( x=$1 )\nz=$2", []string{"", "z"}},
		{"substitution", "a=$(b=$1; echo $b)\nc=`d=$2`\ne=$3", []string{"", "", "e"}},
		{"subshell", "( a=$1 )\nb=$2", []string{"", "b"}},
		{"here-document", "cat <<EOF\na=$1\nEOF\nb=$2", []string{"", "b"}},
		{"here-document, quoted, tabs", "cat <<-'E F' | wc\n\ta=$1\n\tE F\nb=$2", []string{"", "b"}},
		{"here-string", "cat <<< a=$1\nb=$2", []string{"", "b"}},
		{"redirection", "> out a=$1\nb=$2 2>&1", []string{"a", "b"}},
		{"if", "if true; then a=$1; else b=$2; fi", []string{"a", "b"}},
		{"case", "case x in\n x) a=$1;;\nesac", []string{"a"}},
		{"array", "a=($1 $2)\nb=$3", []string{"", "", "b"}},
		{"continued line", "a=$1 \\\n  b=$2", []string{"a", "b"}},
		{"set -e first", "#!/bin/bash\nset -euo pipefail\nmsg=\"${1:-hi}\"\n", []string{"msg"}},
		{"carriage returns", "a=\"$1\"\r\nb=\"$2\"\r\n", []string{"a", "b"}},
		{"not a name", "1a=$1\na-b=$2\na[0]=$3", nil},
		{"huge number", "a=${99999999999999}\nb=${1001}", nil},
		{"unclosed", "a=\"$1", nil},
		{"appending is no declaration", "a+=$1", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := BashParams(tt.code); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBash(t *testing.T) {
	tests := []struct{ code, want string }{
		{"echo hi", ""},
		{`who="$1"` + "\nn=${2:-3}", `1:who str, 2:n str = "3"`},
		{`a="${1:-x 'y' z}"`, `1:a str = "x 'y' z"`},
		{`a=${1:-'x y'}`, `1:a str = "x y"`},
		{`a="${1:-"x y"}"`, `1:a str = "x y"`},
		{`a="${1-}"`, `1:a str = ""`},
		{`a="${1:-$HOME}"` + "\nb=${2:-`pwd`}", `1:a? str, 2:b? str`},
		{`a="${1:-\$5 \q}"`, `1:a str = "$5 \\q"`},
		{`a=${1:-x\ y}`, `1:a str = "x y"`},
		{`a="${1:?needed}"` + "\nb=${2:=no}", `1:a str, 2:b str`},
		{"c=$3\na=$1", `1:a str, 3:c str`},
		{"a=$1\na=$2", `1:a str`},
	}
	for _, tt := range tests {
		check(t, "bash", tt.code, tt.want)
	}
}

func FuzzBash(f *testing.F) {
	fuzz(f, "bash", "a=$1; f() { x='$2'; }; cat <<E\n$(( ${1:-`x`} ))\nE\n", `a="${1:-x\$'y'}" b=${2-"z"}`)
}
