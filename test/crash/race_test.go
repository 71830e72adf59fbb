//go:build race

package crash

// thorough is off under the race detector, which makes every crash point several times as expensive.
const thorough = false
