package signature

import (
	"strings"
	"testing"
)

func TestPython(t *testing.T) {
	tests := []struct{ code, want string }{
		{"", "no main"},
		{"def main():\n    pass", ""},
		{"async def main(a: str):\n  pass", "a str"},
		{
			"def main(a, b: int, c: float, d: bool, e: dict, f: list, g: bytes, h: datetime, i: datetime.date, j: Any): ...",
			"a unknown, b int, c float, d bool, e {object:[]}, f {list:str}, g bytes, h datetime, i date, j unknown",
		},
		{
			"def main(a: list[int], b: List[str], c: Dict[str, int], d: dict[str, list[int]], e: tuple[int, ...], f: Tuple[int, str], g: list[list[bool]]): ...",
			"a {list:int}, b {list:str}, c {object:[]}, d {object:[]}, e {list:int}, f {list:unknown}, g {list:{list:bool}}",
		},
		{
			"def main(a: Optional[str], b: int | None, c: None | int, d: Union[int, None], e: typing.Optional[list[int]] = None, f: int | str = 3, g: int | float = 1): ...",
			"a? str, b? int, c? int, d? int, e? {list:int}, f int = 3, g float = 1",
		},
		{
			`def main(a: Literal["x", 'y'], b: Literal["x"] | None, c: Literal[1, 2], d: typing.Literal["q", 1]): ...`,
			"a {str:[x,y]}, b? {str:[x]}, c int, d unknown",
		},
		{
			`def main(a: "str", b: "Optional[int]", c: Annotated[int, Field(gt=3)], d: Final[str] = "x"): ...`,
			`a str, b? int, c int, d str = "x"`,
		},
		{
			"def main(db: postgresql, s: wmill.slack, f: S3Object, t: list[my_res]): ...",
			"db {resource:postgresql}, s {resource:slack}, f {resource:s3_object}, t {list:{resource:my_res}}",
		},
		{
			"def main(a=1, b=1.5, c='x', d=True, e=None, f=[1, 'a'], g={'k': [1]}, h=(1, 2), i=-3, j=f(), k=[], l=1_000, m=0x1F, n=1e3, o=.5, p=(1)): ...",
			`a int = 1, b float = 1.5, c str = "x", d bool = true, e? unknown, f {list:int} = [1,"a"], g {object:[]} = {"k":[1]}, ` +
				`h {list:int} = [1,2], i int = -3, j? unknown, k {list:unknown} = [], l int = 1000, m int = 31, n float = 1e3, o float = 0.5, p int = 1`,
		},
		{
			`def main(a="x" 'y', b=r'\d', c='\n\x41\u00e9\101\q', d=f"{x}", e=b"x", f="""a"b""", g="\N{DASH}", h={"a": 1, "a": 2}, i={1: 2}, j=1j, k='a' + 'b'): ...`,
			`a str = "xy", b str = "\\d", c str = "\nAéA\\q", d? unknown, e? unknown, f str = "a\"b", g? unknown, h? unknown, i? unknown, j? unknown, k? unknown`,
		},
		{"def main(a, /, b, *, c=1, **kw): ...", "a unknown, b unknown, c int = 1, **"},
		{"def main(a: int, *args: str, b: int, **kw: Any): ...", "a int, b int, *, **"},
		{"def main(\n    a: str,  # the first, or \")\"\n\n    b: int = 3,\n): ...", "a str, b int = 3"},
		{"def main(a: str = lambda x, y: x, b: int = 2): ...", "a? str, b int = 2"},
		{"def main(a: int if x else str, b: x[0](1) = 2): ...", "a unknown, b int = 2"},
		{"@deco(x)\n@other\ndef main(a: int) -> dict[str, int]: ...", "a int"},
		{"def \\\n main(a: int): ...", "a int"},
		{"def main[T](a: T, b: list[int]): ...", "a {resource:T}, b {list:int}"},
		{"class A:\n    def main(self, a): ...\n", "no main"},
		{"x = '''\ndef main(a): ...\n'''\ny = \"def main(b):\"\n", "no main"},
		{"# def main(a): ...\nif x:\n    def main(b): ...\n", "no main"},
		{"x = [\ndef_,\n]\ndef main(a: int): ...\n", "a int"},
		{"def main(a: int): ...\ndef preprocessor(event): ...\n", "a int, preprocessor"},
		{"def preprocessor(event): ...\n", "preprocessor, no main"},
		{"def main(a): ...\ndef main(b): ...", "b unknown"},
		{"x = f\"{d[\"k\"]!r:>{w}} {{ }} {'a' + \"b\"}\"\ny = f'{x:\"^10}'\nz = rf\"\\{x}\"\ndef main(a: int): ...", "a int"},
		{"x = f\"\"\"{\n  g('''\n}''')  }\n\"\"\"\ndef main(a: int): ...", "a int"},
		{"\ufeffdef main(a: int): ...", "a int"},
		{"import os\r\ndef main(a: int,\r\n  b: str):\r\n  pass\r\n", "a int, b str"},
		{"def main(é: int, 名: str): ...", "é int, 名 str"},

		// What the code declares.
		{
			"class Color(str, Enum):\n    RED = 'red'\n    BLUE = \"blue\"\n    _x = 1\n    def f(self):\n        Y = 'y'\n\ndef main(c: Color = Color.RED, d: Optional[Color] = None, e: list[Color] = []): ...",
			"c? {str:[red,blue]}, d? {str:[red,blue]}, e {list:{str:[red,blue]}} = []",
		},
		{"def main(n: N): ...\nclass N(enum.IntEnum):\n  A = 1\n  B = 2\n", "n int"},
		{"class P(BaseModel):\n  x: int\n\npostgresql = dict\n\ndef main(p: P, db: postgresql): ...", "p {resource:P}, db {resource:postgresql}"},
		{
			"Mode = Literal['a', 'b']\ntype Count = int\nName: TypeAlias = 'str'\nLoop = list['Loop']\ndef main(m: Mode, c: Count, n: Name, l: Loop): ...",
			"m {str:[a,b]}, c int, n str, l {list:{resource:Loop}}",
		},

		// What cannot be read.
		{"def main(a, a): ...", "line 1, column 14: two arguments are called a"},
		{"x = 1\ndef main(a b): ...", "line 2, column 12: expected a comma or the end of the parameters"},
		{"def main(1): ...", "line 1, column 10: expected the name of a parameter"},
		{"def main(*1): ...", "line 1, column 11: expected a name behind *"},
		{"def main: ...", "line 1, column 9: expected ( and the parameters"},
		{"def main(a: int", "line 1, column 9: this bracket is never closed"},
		{"def main(a: int]: ...", "line 1, column 16: expected ) before ]"},
		{"é = )", "line 1, column 5: nothing is open that ) could close"},
		{"x = 'abc\ny = 1", "line 1, column 5: this string is never closed"},
		{"x = f'{a'", "line 1, column 5: this string is never closed"},
	}
	for _, tt := range tests {
		check(t, "python3", tt.code, tt.want)
	}
}

func TestPythonBounds(t *testing.T) {
	tests := []struct{ code, want string }{
		{"def main(" + strings.Repeat("a,", MaxArgs+1) + "): ...", "line 1, column 2010: more than 1000 arguments"},
		{"def main(a=" + strings.Repeat("1+", maxTokens) + "1): ...", "line 1, column 9: the parameters are too long"},
		{strings.Repeat("(", maxNested+1), "line 1, column 10001: the code is nested too deeply"},
		{"def main(a: " + strings.Repeat("list[", 1000) + "int" + strings.Repeat("]", 1000) + ", b: int = " + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + "): ...", ""},
		{"x = " + strings.Repeat(`f"{`, 1000), "line 1, column 5: this string is never closed"},
		{"def main(a=" + strings.Repeat("9", 5000) + ", b=1e999): ...", "a? unknown, b? unknown"},
	}
	for _, tt := range tests {
		if tt.want == "" {
			if _, err := Parse("python", tt.code); err != nil {
				t.Errorf("%.50s: %v", tt.code, err)
			}
			continue
		}
		check(t, "python", tt.code, tt.want)
	}
}

func FuzzPython(f *testing.F) {
	fuzz(f, "python3",
		"import a.b\nclass C(str, Enum):\n  A = 'a'\ndef main(a: C | None, b: Literal['x', 1] = \"\\u00e9\", *args, c={'k': [1, -2.5e3]}, **kw) -> int:\n  return f\"{a!r:>{b}}\"\n",
		"X = Literal['a']\ntype Y = list[X]\nasync def preprocessor(y: 'Y', z: lambda a, b: 1 = lambda a, b: 1): ...\n",
		"def main[T](\\\n a: Annotated[T, f(1)]='''x''' r'y', /, *, b: (int) = 0x1_f): ...",
	)
}
