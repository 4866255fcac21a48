package signature

import (
	"strings"
	"testing"
	"time"
)

// Whatever is repeated, the time grows with the length of the code alone.
func TestTimeIsLinear(t *testing.T) {
	begins := map[string][]string{
		"bash": {""}, "postgresql": {""}, "go": {"", "package inner\nfunc main(a "},
		"python3": {"", "def main(a: ", "def main(a="}, "bun": {"", "export function main(a: ", "export function main(a = "},
	}
	pieces := []string{
		"1e+", "(", ")", "[", "{", "<", "a<", "`", "`${", "'", "\"", "'''", "f'{", "f\"{x:", "/", "/*", "*/", "--", "$1::", "$1:: ", "$a$", "$",
		"-- $1 a (", "# requirements:\n", "#\n", "import a\n", "import ", "from . import a,", "export {", "export ", "export const main = ", "type A = B\n",
		"enum A {", "class A(Enum):\n", "def main(", "def main(a):\n", "x = 1\n", "a=$1\n", "a=${1:-", "cat <<E\n", "f() {", "\\\n", "\\", " ", "\n", "=>", "A extends ",
		"//require a b\n", "package a\n", "struct{", "é", "\x00", "import(", "async ", "a|", "a&", "a[]", "{}&", "list[",
	}
	for language, starts := range begins {
		for _, begin := range starts {
			for _, piece := range pieces {
				code := begin + strings.Repeat(piece, (1<<16)/len(piece))
				start := time.Now()
				if sig, err := Parse(language, code); err == nil {
					sound(t, sig)
				}
				Imports(language, code)
				if d := time.Since(start); d > time.Second {
					t.Errorf("%s: %q, and then %q again and again, took %s", language, begin, piece, d)
				}
			}
		}
	}
}
