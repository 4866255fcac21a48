package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// column is one column of a table.
type column struct {
	head  string
	right bool // numbers stand to the right
	least int  // if > 0: may be cut to this many columns
}

// table is printed aligned, cut to the width of the terminal.
type table struct {
	columns []column
	rows    [][]string
	indent  string
}

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = clean(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// write prints the table; width 0 cuts nothing.
func (t *table) write(w io.Writer, width int) {
	const gap = 2
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = textWidth(c.head)
		for _, row := range t.rows {
			widths[i] = max(widths[i], textWidth(row[i]))
		}
	}
	total := len(t.indent) - gap
	for _, n := range widths {
		total += n + gap
	}
	for over := total - width; width > 0 && over > 0; over-- {
		widest := -1
		for i, c := range t.columns {
			if c.least > 0 && widths[i] > c.least && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	heads := make([]string, len(t.columns))
	for i, c := range t.columns {
		heads[i] = c.head
	}
	for _, row := range append([][]string{heads}, t.rows...) {
		var line strings.Builder
		line.WriteString(t.indent)
		for i, c := range t.columns {
			cell := cutMiddle(row[i], widths[i])
			pad := strings.Repeat(" ", widths[i]-textWidth(cell))
			if c.right {
				cell = pad + cell
			} else {
				cell += pad
			}
			if i > 0 {
				line.WriteString("  ")
			}
			line.WriteString(cell)
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// fact is a line of a description.
type fact struct{ name, value string }

// writeFacts prints names and values under each other. Values without text are
// left out; those that are too long for the width go on in the next line.
func writeFacts(w io.Writer, width int, indent string, facts []fact) {
	names := 0
	for _, f := range facts {
		if f.value != "" {
			names = max(names, textWidth(f.name))
		}
	}
	left := len(indent) + names + 2
	for _, f := range facts {
		if f.value == "" {
			continue
		}
		name := f.name + strings.Repeat(" ", names-textWidth(f.name))
		for i, line := range wrap(clean(f.value), width-left) {
			if i > 0 {
				name = strings.Repeat(" ", names)
			}
			fmt.Fprintf(w, "%s%s  %s\n", indent, name, line)
		}
	}
}

// wrap breaks text into lines of at most width columns, at blanks where it can.
// Width < 20 means: in one line.
func wrap(text string, width int) []string {
	const narrowest = 20
	if width < narrowest || textWidth(text) <= width {
		return []string{text}
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		for textWidth(word) > width {
			if line != "" {
				lines = append(lines, line)
				line = ""
			}
			head := fitting(word, width)
			lines = append(lines, head)
			word = word[len(head):]
		}
		switch {
		case line == "":
			line = word
		case textWidth(line)+1+textWidth(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

// writeWrapped prints a paragraph.
func writeWrapped(w io.Writer, width int, text string) {
	for _, line := range wrap(clean(text), width) {
		fmt.Fprintln(w, line)
	}
}

// writeJSON prints a value for programs.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// cut shortens text to n columns and marks that.
func cut(s string, n int) string {
	if textWidth(s) <= n {
		return s
	}
	return fitting(s, n-1) + "…"
}

// cutMiddle is cut for names whose ends tell them apart.
func cutMiddle(s string, n int) string {
	if textWidth(s) <= n {
		return s
	}
	head := fitting(s, (n-1)/2)
	room := n - 1 - textWidth(head)
	tail := len(s)
	for tail > len(head) {
		r, size := utf8.DecodeLastRuneInString(s[:tail])
		if room -= runeWidth(r); room < 0 {
			break
		}
		tail -= size
	}
	return head + "…" + s[tail:]
}

// fitting returns the beginning of s that takes at most n columns.
func fitting(s string, n int) string {
	for i, r := range s {
		if n -= runeWidth(r); n < 0 {
			return s[:i]
		}
	}
	return s
}

// clean makes text from elsewhere harmless to a terminal: what does not print
// is shown escaped.
func clean(s string) string {
	return cleanBut(s, "")
}

// cleanLines is clean for text of several lines.
func cleanLines(s string) string {
	return cleanBut(s, "\n\t")
}

// colours are the sequences by which programs colour their output.
var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// logText makes what a job printed harmless to a terminal, but leaves it its
// colours; what goes elsewhere stays as it is.
func logText(s string, tty bool) string {
	if !tty {
		return s
	}
	var b strings.Builder
	for {
		at := colours.FindStringIndex(s)
		if at == nil {
			b.WriteString(cleanBut(s, "\n\t\r"))
			return b.String()
		}
		b.WriteString(cleanBut(s[:at[0]], "\n\t\r"))
		b.WriteString(s[at[0]:at[1]])
		s = s[at[1]:]
	}
}

func cleanBut(s, keep string) string {
	harmless := func(r rune, size int) bool {
		return (unicode.IsPrint(r) || strings.ContainsRune(keep, r)) && (r != utf8.RuneError || size > 1)
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case harmless(r, size):
			b.WriteString(s[i : i+size])
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
		i += size
	}
	return b.String()
}

// textWidth returns the number of columns that text takes on a terminal.
func textWidth(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// runeWidth knows the wide scripts and the emoji; all else is one column.
func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me) || r == 0x200d:
		return 0
	case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana):
		return 2
	case r >= 0xff01 && r <= 0xff60, r >= 0x3000 && r <= 0x303e, r >= 0x1f300 && r <= 0x1faff:
		return 2
	}
	return 1
}

// columns returns the width for tables on f: that of the terminal, or what
// the environment says; 0, without a bound, for files and pipes.
func columns(f *os.File, said string) int {
	if n, err := strconv.Atoi(said); err == nil && n > 0 {
		return n
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return 0
	}
	return int(size.Col)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}
