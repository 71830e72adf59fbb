//go:build !race

package crash

// thorough adds second deaths to the matrix.
const thorough = true
