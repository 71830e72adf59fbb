package spec

import (
	"math/big"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// ParseJSON reads one JSON document into a positioned tree. Integers of any
// size, the difference between 1 and 1.0 and the order of keys are kept. Blank
// text gives a nil node; repeated keys are warnings; anything unreadable or
// beyond the limits is a *SyntaxError.
func ParseJSON(name string, data []byte, limits Limits) (*Node, Diagnostics, error) {
	limits = limits.withDefaults()
	if isBlank(data) {
		return nil, nil, nil
	}
	p := jsonParser{file: name, data: data, limits: limits, line: 1, positions: true}
	node, err := p.document()
	if err != nil {
		return nil, nil, err
	}
	return node, p.found, nil
}

// FromJSON reads JSON that did not come from a file: the nodes have no
// positions and repeated keys are not reported.
func FromJSON(data []byte, limits Limits) (*Node, error) {
	limits = limits.withDefaults()
	if isBlank(data) {
		return nil, nil
	}
	p := jsonParser{data: data, limits: limits, line: 1}
	return p.document()
}

type jsonParser struct {
	file      string
	data      []byte
	limits    Limits
	at        int
	line      int
	lineStart int
	// counted and runes remember the last column, so that a long line is read once.
	counted   int
	runes     int
	nodes     int
	positions bool
	path      []string
	found     Diagnostics
	slab      []Node
}

func (p *jsonParser) document() (*Node, error) {
	if len(p.data) > p.limits.Bytes {
		return nil, p.fail("The spec is larger than " + itoa(p.limits.Bytes) + " bytes.")
	}
	if !utf8.Valid(p.data) {
		return nil, &SyntaxError{Message: "The spec is not valid UTF-8.", Pos: badEncodingAt(p.file, p.data)}
	}
	node, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.at < len(p.data) {
		return nil, p.fail("JSON: there is more text after the end of the document.")
	}
	return node, nil
}

// fail names the position even when the nodes carry none: it is the only hint.
func (p *jsonParser) fail(message string) error {
	column := utf8.RuneCount(p.data[p.lineStart:min(p.at, len(p.data))]) + 1
	return &SyntaxError{Message: message, Pos: Pos{File: p.file, Line: p.line, Column: column}}
}

func (p *jsonParser) pos() Pos {
	if !p.positions {
		return Pos{}
	}
	if p.counted < p.lineStart {
		p.counted, p.runes = p.lineStart, 0
	}
	p.runes += utf8.RuneCount(p.data[p.counted:p.at])
	p.counted = p.at
	return Pos{File: p.file, Line: p.line, Column: p.runes + 1}
}

func (p *jsonParser) space() {
	for p.at < len(p.data) {
		switch p.data[p.at] {
		case '\n':
			p.line++
			p.lineStart = p.at + 1
		case ' ', '\t', '\r':
		default:
			return
		}
		p.at++
	}
}

func (p *jsonParser) node(kind Kind, value string, pos Pos) *Node {
	if len(p.slab) == 0 {
		p.slab = make([]Node, min(64, max(4, (len(p.data)-p.at)/16)))
	}
	n := &p.slab[0]
	p.slab = p.slab[1:]
	n.Kind, n.Value, n.Pos = kind, value, pos
	return n
}

func (p *jsonParser) value(depth int) (*Node, error) {
	p.space()
	if p.at >= len(p.data) {
		return nil, p.fail("JSON: the text ends too early.")
	}
	if depth > p.limits.Depth {
		return nil, p.fail("The spec is nested deeper than " + itoa(p.limits.Depth) + " levels.")
	}
	if p.nodes++; p.nodes > p.limits.Nodes {
		return nil, p.fail("The spec has more than " + itoa(p.limits.Nodes) + " values.")
	}
	pos := p.pos()
	switch c := p.data[p.at]; {
	case c == '{':
		return p.object(pos, depth)
	case c == '[':
		return p.array(pos, depth)
	case c == '"':
		s, err := p.text()
		if err != nil {
			return nil, err
		}
		return p.node(String, s, pos), nil
	case c == '-' || c >= '0' && c <= '9':
		return p.number(pos)
	default:
		return p.word(pos)
	}
}

func (p *jsonParser) word(pos Pos) (*Node, error) {
	for _, w := range [...]struct {
		text string
		kind Kind
	}{{"true", Bool}, {"false", Bool}, {"null", Null}} {
		if len(p.data)-p.at >= len(w.text) && string(p.data[p.at:p.at+len(w.text)]) == w.text {
			p.at += len(w.text)
			if w.kind == Null {
				return p.node(Null, "", pos), nil
			}
			return p.node(Bool, w.text, pos), nil
		}
	}
	return nil, p.fail("JSON: a value was expected here.")
}

func (p *jsonParser) array(pos Pos, depth int) (*Node, error) {
	out := p.node(Sequence, "", pos)
	p.at++
	if p.space(); p.peek() == ']' {
		p.at++
		return out, nil
	}
	for i := 0; ; i++ {
		if p.positions {
			p.path = append(p.path, "["+itoa(i)+"]")
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		p.leave()
		out.Items = append(out.Items, item)
		p.space()
		switch p.peek() {
		case ',':
			p.at++
		case ']':
			p.at++
			return out, nil
		default:
			return nil, p.fail("JSON: ',' or ']' was expected here.")
		}
	}
}

func (p *jsonParser) leave() {
	if p.positions {
		p.path = p.path[:len(p.path)-1]
	}
}

func (p *jsonParser) peek() byte {
	if p.at < len(p.data) {
		return p.data[p.at]
	}
	return 0
}

func (p *jsonParser) object(pos Pos, depth int) (*Node, error) {
	out := p.node(Mapping, "", pos)
	p.at++
	if p.space(); p.peek() == '}' {
		p.at++
		return out, nil
	}
	set := keySet{}
	for {
		entry, err := p.entry(depth)
		if err != nil {
			return nil, err
		}
		if set.add(out, entry) && p.positions && len(p.found) < p.limits.DuplicateKeys {
			p.found = append(p.found, duplicateKey(entry, p.pathTo(entry.Key)))
		}
		p.space()
		switch p.peek() {
		case ',':
			p.at++
		case '}':
			p.at++
			return out, nil
		default:
			return nil, p.fail("JSON: ',' or '}' was expected here.")
		}
	}
}

func (p *jsonParser) entry(depth int) (Entry, error) {
	if p.space(); p.peek() != '"' {
		return Entry{}, p.fail("JSON: a key in double quotes was expected here.")
	}
	e := Entry{KeyKind: String, KeyPos: p.pos()}
	var err error
	if e.Key, err = p.text(); err != nil {
		return e, err
	}
	if p.space(); p.peek() != ':' {
		return e, p.fail("JSON: ':' was expected here.")
	}
	p.at++
	if p.positions {
		p.path = append(p.path, e.Key)
	}
	if e.Value, err = p.value(depth + 1); err != nil {
		return e, err
	}
	p.leave()
	return e, nil
}

func (p *jsonParser) pathTo(key string) string {
	out := ""
	for _, part := range p.path {
		if part[0:min(1, len(part))] == "[" {
			out += part
		} else {
			out = joinPath(out, part)
		}
	}
	return joinPath(out, key)
}

func (p *jsonParser) number(pos Pos) (*Node, error) {
	start, float := p.at, false
	digits := func() int {
		n := 0
		for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
			p.at++
			n++
		}
		return n
	}
	if p.peek() == '-' {
		p.at++
	}
	leadingZero := p.peek() == '0'
	whole := digits()
	bad := whole == 0 || leadingZero && whole > 1
	if p.peek() == '.' {
		float = true
		p.at++
		bad = digits() == 0 || bad
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		float = true
		p.at++
		if c := p.peek(); c == '+' || c == '-' {
			p.at++
		}
		bad = digits() == 0 || bad
	}
	text := string(p.data[start:p.at])
	if bad {
		return nil, p.fail("JSON: '" + text + "' is not a number.")
	}
	if float {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, p.fail("JSON: the number is too large.")
		}
		return p.node(Float, formatFloat(f), pos), nil
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return p.node(Int, strconv.FormatInt(i, 10), pos), nil
	}
	if n, ok := new(big.Int).SetString(text, 10); ok && len(text) <= maxDigits {
		return p.node(Int, n.String(), pos), nil
	}
	return nil, p.fail("JSON: the number is too large.")
}

func (p *jsonParser) text() (string, error) {
	p.at++
	start := p.at
	for p.at < len(p.data) {
		switch c := p.data[p.at]; {
		case c == '"':
			s := string(p.data[start:p.at])
			p.at++
			return s, nil
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return "", p.fail("JSON: a control character must be escaped.")
		}
		p.at++
	}
	return "", p.fail("JSON: the string does not end.")
}

func (p *jsonParser) escaped(start int) (string, error) {
	buf := append(make([]byte, 0, 2*(p.at-start)+32), p.data[start:p.at]...)
	for p.at < len(p.data) {
		c := p.data[p.at]
		switch {
		case c == '"':
			p.at++
			return string(buf), nil
		case c < ' ':
			return "", p.fail("JSON: a control character must be escaped.")
		case c != '\\':
			buf = append(buf, c)
			p.at++
			continue
		}
		var ok bool
		if buf, ok = p.escape(buf); !ok {
			return "", p.fail("JSON: the escape is not valid.")
		}
	}
	return "", p.fail("JSON: the string does not end.")
}

func (p *jsonParser) escape(buf []byte) ([]byte, bool) {
	p.at++
	c := p.peek()
	p.at++
	switch c {
	case '"', '\\', '/':
		return append(buf, c), true
	case 'b':
		return append(buf, '\b'), true
	case 'f':
		return append(buf, '\f'), true
	case 'n':
		return append(buf, '\n'), true
	case 'r':
		return append(buf, '\r'), true
	case 't':
		return append(buf, '\t'), true
	case 'u':
		r, ok := p.hex()
		if !ok {
			return buf, false
		}
		if utf16.IsSurrogate(r) {
			r = p.surrogate(r)
		}
		return utf8.AppendRune(buf, r), true
	default:
		return buf, false
	}
}

func (p *jsonParser) hex() (rune, bool) {
	if len(p.data)-p.at < 4 {
		return 0, false
	}
	v, err := strconv.ParseUint(string(p.data[p.at:p.at+4]), 16, 32)
	if err != nil {
		return 0, false
	}
	p.at += 4
	return rune(v), true
}

// surrogate joins a pair; a lone half becomes the replacement character.
func (p *jsonParser) surrogate(high rune) rune {
	if len(p.data)-p.at < 6 || p.data[p.at] != '\\' || p.data[p.at+1] != 'u' {
		return utf8.RuneError
	}
	mark := p.at
	p.at += 2
	low, ok := p.hex()
	joined := utf16.DecodeRune(high, low)
	if !ok || joined == utf8.RuneError {
		p.at = mark
		return utf8.RuneError
	}
	return joined
}
