// Package dbtype holds column types that both SQL dialects share. It imports only the standard library.
package dbtype

import (
	"database/sql/driver"
	"fmt"
)

// JSON is the exact text of a JSON value in a column. Nil is SQL NULL. It is written as text, since SQLite would store bytes as a blob.
type JSON []byte

// Value implements driver.Valuer.
func (j JSON) Value() (driver.Value, error) {
	if j == nil {
		return nil, nil
	}
	return string(j), nil
}

// Scan implements sql.Scanner; it copies what the driver lends.
func (j *JSON) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*j = nil
	case string:
		*j = JSON(v)
	case []byte:
		*j = append(JSON{}, v...)
	default:
		return fmt.Errorf("dbtype: cannot read JSON from %T", src)
	}
	return nil
}
