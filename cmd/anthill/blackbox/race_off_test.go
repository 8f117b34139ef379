//go:build !race

package blackbox

// raceOn says that these tests, and so the program under test, look for data races.
const raceOn = false
