package service

import (
	"encoding/json"
	"strconv"

	"github.com/kneo-go/kneo/internal/run"
)

// object builds a small JSON object in order.
type object struct{ buf []byte }

func (o *object) name(key string) {
	if len(o.buf) == 0 {
		o.buf = append(o.buf, '{')
	} else {
		o.buf = append(o.buf, ',')
	}
	o.buf = append(run.AppendString(o.buf, key), ':')
}

func (o *object) raw(key string, value []byte) {
	o.name(key)
	if len(value) == 0 {
		value = []byte("null")
	}
	o.buf = append(o.buf, value...)
}

func (o *object) text(key, value string) {
	o.name(key)
	o.buf = run.AppendString(o.buf, value)
}

func (o *object) optional(key string, value *string) {
	o.name(key)
	o.buf = run.AppendOptional(o.buf, value)
}

// texts writes a list, or null when it is empty.
func (o *object) texts(key string, values []string) {
	o.name(key)
	if len(values) == 0 {
		o.buf = append(o.buf, "null"...)
		return
	}
	o.buf = run.AppendStrings(o.buf, values)
}

func (o *object) list(key string, values []string) {
	o.name(key)
	o.buf = run.AppendStrings(o.buf, values)
}

func (o *object) boolean(key string, value bool) {
	o.name(key)
	if value {
		o.buf = append(o.buf, "true"...)
		return
	}
	o.buf = append(o.buf, "false"...)
}

func (o *object) number(key string, value int64) {
	o.name(key)
	o.buf = strconv.AppendInt(o.buf, value, 10)
}

func (o *object) bytes() []byte {
	if len(o.buf) == 0 {
		return []byte("{}")
	}
	return append(o.buf, '}')
}

// rawJSON marks bytes as JSON for the fields of an error.
func rawJSON(b []byte) json.RawMessage { return json.RawMessage(b) }
