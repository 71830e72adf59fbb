package builtin

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxDepth bounds nested parentheses and signs.
const maxDepth = 100

func calculator(arguments json.RawMessage) (any, error) {
	var a struct {
		Expression string `json:"expression"`
	}
	if err := json.Unmarshal(arguments, &a); err != nil {
		return nil, err
	}
	p := &parser{rest: a.Expression}
	v, err := p.sum(0)
	if err != nil {
		return nil, err
	}
	if p.peek() != 0 {
		return nil, fmt.Errorf("unexpected %q", p.rest)
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil, errors.New("the result is not a finite number")
	}
	return strconv.FormatFloat(v, 'g', -1, 64), nil
}

// parser is a recursive descent over what is left of an expression.
type parser struct{ rest string }

// peek returns the next character that is not a space, or 0.
func (p *parser) peek() byte {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	if p.rest == "" {
		return 0
	}
	return p.rest[0]
}

func (p *parser) sum(depth int) (float64, error) {
	v, err := p.product(depth)
	for err == nil {
		op := p.peek()
		if op != '+' && op != '-' {
			break
		}
		p.rest = p.rest[1:]
		var w float64
		w, err = p.product(depth)
		if op == '-' {
			w = -w
		}
		v += w
	}
	return v, err
}

func (p *parser) product(depth int) (float64, error) {
	v, err := p.power(depth)
	for err == nil {
		op := p.peek()
		if op != '*' && op != '/' && op != '%' {
			break
		}
		p.rest = p.rest[1:]
		var w float64
		if w, err = p.power(depth); err != nil {
			break
		}
		switch {
		case op == '*':
			v *= w
		case w == 0:
			return 0, errors.New("division by zero")
		case op == '/':
			v /= w
		default:
			v = math.Mod(v, w)
		}
	}
	return v, err
}

func (p *parser) power(depth int) (float64, error) {
	v, err := p.signed(depth)
	if err == nil && p.peek() == '^' {
		p.rest = p.rest[1:]
		var w float64
		if depth++; depth > maxDepth {
			return 0, errors.New("the expression is nested too deeply")
		}
		w, err = p.power(depth)
		v = math.Pow(v, w)
	}
	return v, err
}

func (p *parser) signed(depth int) (float64, error) {
	if depth > maxDepth {
		return 0, errors.New("the expression is nested too deeply")
	}
	switch p.peek() {
	case '-':
		p.rest = p.rest[1:]
		v, err := p.signed(depth + 1)
		return -v, err
	case '+':
		p.rest = p.rest[1:]
		return p.signed(depth + 1)
	case '(':
		p.rest = p.rest[1:]
		v, err := p.sum(depth + 1)
		if err == nil && p.peek() != ')' {
			return 0, errors.New("a parenthesis is not closed")
		}
		if err == nil {
			p.rest = p.rest[1:]
		}
		return v, err
	}
	return p.number()
}

func (p *parser) number() (float64, error) {
	end := 0
	for end < len(p.rest) && (p.rest[end] >= '0' && p.rest[end] <= '9' || p.rest[end] == '.') {
		end++
	}
	v, err := strconv.ParseFloat(p.rest[:end], 64)
	if err != nil {
		return 0, fmt.Errorf("a number is missing before %q", p.rest)
	}
	p.rest = p.rest[end:]
	return v, nil
}
