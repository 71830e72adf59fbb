package spec

// OrderedMap keeps named values in declaration order. The zero value is empty
// and ready to read.
type OrderedMap[T any] struct {
	keys  []string
	index map[string]int
	items []T
}

// Len returns the number of entries.
func (m *OrderedMap[T]) Len() int { return len(m.keys) }

// Keys returns the names in declaration order; the caller must not change it.
func (m *OrderedMap[T]) Keys() []string { return m.keys }

// At returns the i-th name and value in declaration order.
func (m *OrderedMap[T]) At(i int) (string, T) { return m.keys[i], m.items[i] }

// Get returns the value of a name.
func (m *OrderedMap[T]) Get(name string) (T, bool) {
	if i, ok := m.index[name]; ok {
		return m.items[i], true
	}
	var zero T
	return zero, false
}

// Has reports whether the name is there.
func (m *OrderedMap[T]) Has(name string) bool {
	_, ok := m.index[name]
	return ok
}

// All yields the entries in declaration order.
func (m *OrderedMap[T]) All() func(yield func(string, T) bool) {
	return func(yield func(string, T) bool) {
		for i, k := range m.keys {
			if !yield(k, m.items[i]) {
				return
			}
		}
	}
}

// Set adds or replaces a value; a new name goes to the end.
func (m *OrderedMap[T]) Set(name string, value T) {
	if i, ok := m.index[name]; ok {
		m.items[i] = value
		return
	}
	if m.index == nil {
		m.index = make(map[string]int)
	}
	m.index[name] = len(m.keys)
	m.keys = append(m.keys, name)
	m.items = append(m.items, value)
}
