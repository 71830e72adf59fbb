package spec

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

func itoa(i int) string { return strconv.Itoa(i) }

// resolvePlain gives a plain YAML 1.1 scalar its kind and canonical text. The
// rules differ from what YAML libraries for Go do, and specs depend on them:
// yes and on are booleans, 010 is eight, 1e3 is a string.
func resolvePlain(s string) (Kind, string) {
	if s == "" {
		return Null, ""
	}
	switch c := s[0]; {
	case c >= '0' && c <= '9', c == '-', c == '+', c == '.':
		return resolveNumber(s)
	case strings.IndexByte("ynYNtTfFoO~", c) >= 0:
		return resolveWord(s)
	default:
		return String, s
	}
}

func resolveWord(s string) (Kind, string) {
	if len(s) > 5 {
		return String, s
	}
	switch s {
	case "~", "null", "Null", "NULL":
		return Null, ""
	case "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON":
		return Bool, "true"
	case "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF":
		return Bool, "false"
	default:
		return String, s
	}
}

func resolveNumber(s string) (Kind, string) {
	if text, ok := resolveInt(s); ok {
		return Int, text
	}
	if f, ok := resolveFloat(s); ok {
		return Float, formatFloat(f)
	}
	if isTimestamp(s) {
		return Timestamp, s
	}
	return String, s
}

func resolveInt(s string) (string, bool) {
	sign, body := cutSign(s)
	switch {
	case body == "":
		return "", false
	case body == "0":
		return "0", true
	case strings.HasPrefix(body, "0b"):
		return parseBig(sign, body[2:], 2, "01_")
	case strings.HasPrefix(body, "0x"):
		return parseBig(sign, body[2:], 16, "0123456789abcdefABCDEF_")
	case body[0] == '0':
		return parseBig(sign, body[1:], 8, "01234567_")
	case body[0] < '1' || body[0] > '9':
		return "", false
	case strings.IndexByte(body, ':') >= 0:
		return sexagesimal(sign, body)
	default:
		return parseBig(sign, body, 10, "0123456789_")
	}
}

func cutSign(s string) (sign, rest string) {
	switch {
	case s == "":
		return "", ""
	case s[0] == '-':
		return "-", s[1:]
	case s[0] == '+':
		return "", s[1:]
	default:
		return "", s
	}
}

func onlyOf(s, set string) bool {
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(set, s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

// maxDigits bounds the integers that are converted: a longer one is a string.
const maxDigits = 4300

func parseBig(sign, digits string, base int, set string) (string, bool) {
	if len(digits) > maxDigits || !onlyOf(digits, set) {
		return "", false
	}
	digits = strings.ReplaceAll(digits, "_", "")
	if base == 8 && digits == "" {
		return "0", true // 0_ is nought with a separator behind it
	}
	if i, err := strconv.ParseInt(sign+digits, base, 64); err == nil {
		return strconv.FormatInt(i, 10), true
	}
	n, ok := new(big.Int).SetString(sign+digits, base)
	if !ok {
		return "", false
	}
	return n.String(), true
}

func sexagesimal(sign, body string) (string, bool) {
	parts := strings.Split(body, ":")
	if len(parts) > 8 || !onlyOf(parts[0], "0123456789_") {
		return "", false
	}
	total := new(big.Int)
	for i, p := range parts {
		if i > 0 && !isBase60(p) {
			return "", false
		}
		v, ok := new(big.Int).SetString(strings.ReplaceAll(p, "_", ""), 10)
		if !ok {
			return "", false
		}
		total.Add(total.Mul(total, big.NewInt(60)), v)
	}
	if sign == "-" {
		total.Neg(total)
	}
	return total.String(), true
}

func isBase60(p string) bool {
	return onlyOf(p, "0123456789") && (len(p) == 1 || len(p) == 2 && p[0] <= '5')
}

func resolveFloat(s string) (float64, bool) {
	sign, body := cutSign(s)
	factor := 1.0
	if sign == "-" {
		factor = -1
	}
	switch body {
	case ".inf", ".Inf", ".INF":
		return math.Inf(int(factor)), true
	case ".nan", ".NaN", ".NAN":
		return math.NaN(), len(body) == len(s)
	}
	whole, frac, found := strings.Cut(body, ".")
	if !found || whole != "" && (whole[0] < '0' || whole[0] > '9') {
		return 0, false
	}
	if strings.IndexByte(whole, ':') >= 0 {
		return sexagesimalFloat(factor, whole, frac)
	}
	mantissa, exp, hasExp := cutExponent(frac)
	if whole == "" && (len(body) != len(s) || mantissa == "" || mantissa[0] == '_') {
		return 0, false
	}
	if whole != "" && !onlyOf(whole, "0123456789_") || mantissa != "" && !onlyOf(mantissa, "0123456789_") {
		return 0, false
	}
	text := sign + strings.ReplaceAll(whole, "_", "") + "." + strings.ReplaceAll(mantissa, "_", "")
	if hasExp {
		if len(exp) < 2 || exp[0] != '-' && exp[0] != '+' || !onlyOf(exp[1:], "0123456789") {
			return 0, false
		}
		text += "e" + exp
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil || math.IsInf(f, 0)
}

func cutExponent(s string) (mantissa, exp string, found bool) {
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

func sexagesimalFloat(factor float64, whole, frac string) (float64, bool) {
	parts := strings.Split(whole, ":")
	if len(parts) > 8 || !onlyOf(parts[0], "0123456789_") || frac != "" && !onlyOf(frac, "0123456789_") {
		return 0, false
	}
	total := 0.0
	for i, p := range parts {
		if i > 0 && !isBase60(p) {
			return 0, false
		}
		v, err := strconv.ParseFloat(strings.ReplaceAll(p, "_", ""), 64)
		if err != nil {
			return 0, false
		}
		total = total*60 + v
	}
	f, err := strconv.ParseFloat("0."+strings.ReplaceAll(frac, "_", "")+"0", 64)
	return factor * (total + f), err == nil
}

// isTimestamp recognises the YAML 1.1 forms of dates and times.
func isTimestamp(s string) bool {
	rest, ok := cutDigits(s, 4, 4)
	if !ok || !strings.HasPrefix(rest, "-") {
		return false
	}
	month := rest[1:]
	if rest, ok = cutDigits(month, 1, 2); !ok || !strings.HasPrefix(rest, "-") {
		return false
	}
	shortMonth := len(month)-len(rest) == 1
	day := rest[1:]
	if rest, ok = cutDigits(day, 1, 2); !ok {
		return false
	}
	if rest == "" {
		return !shortMonth && len(day) == 2
	}
	return isTimeOfDay(rest)
}

func isTimeOfDay(rest string) bool {
	if rest[0] == 'T' || rest[0] == 't' {
		rest = rest[1:]
	} else {
		trimmed := strings.TrimLeft(rest, " \t")
		if len(trimmed) == len(rest) {
			return false
		}
		rest = trimmed
	}
	var ok bool
	if rest, ok = cutDigits(rest, 1, 2); !ok {
		return false
	}
	for range 2 {
		if !strings.HasPrefix(rest, ":") {
			return false
		}
		if rest, ok = cutDigits(rest[1:], 2, 2); !ok {
			return false
		}
	}
	if strings.HasPrefix(rest, ".") {
		rest = strings.TrimLeft(rest[1:], "0123456789")
	}
	return isZone(strings.TrimLeft(rest, " \t"))
}

func isZone(s string) bool {
	if s == "" || s == "Z" {
		return true
	}
	if s[0] != '+' && s[0] != '-' {
		return false
	}
	rest, ok := cutDigits(s[1:], 1, 2)
	if !ok || rest == "" {
		return ok
	}
	if rest[0] != ':' {
		return false
	}
	rest, ok = cutDigits(rest[1:], 2, 2)
	return ok && rest == ""
}

// cutDigits takes between least and most leading digits off s.
func cutDigits(s string, least, most int) (string, bool) {
	n := 0
	for n < len(s) && n < most && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return s[n:], n >= least
}

// formatFloat writes the shortest text that reads back as f, always with a
// point or an exponent so that it stays a float.
func formatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	sci := strconv.FormatFloat(f, 'e', -1, 64)
	mantissa, expText, _ := strings.Cut(sci, "e")
	exp, err := strconv.Atoi(expText)
	if err == nil && (exp < -4 || exp >= 16) {
		return mantissa + "e" + expText
	}
	plain := strconv.FormatFloat(f, 'f', -1, 64)
	if strings.IndexByte(plain, '.') < 0 {
		plain += ".0"
	}
	return plain
}
