package bolt_test
import ("testing";"fmt";"context";"anthill/services/internal/store";"anthill/services/internal/store/bolt")
func TestTmp(t *testing.T) {
	ev := make([]byte,1024)
	for _, n := range []int{2,8,64} {
	d := openStore(t)
	ref := openReference(t, true)
	var a, b, c []float64
	var s0, s1, s2 bolt.Stats
	sum := func(x *bolt.Stats, f func() float64) float64 { o := d.Stats(); r := f(); p := d.Stats(); x.Updates += p.Updates-o.Updates; x.Commits += p.Commits-o.Commits; return r }
	run := func() float64 { return rate(n, func(c int) error { return d.Update(context.Background(), func(tx store.Tx) error { tx.Append(fmt.Sprint("t",c), ev); return nil }) }) }
	for range 20 {
		bolt.NoQ = false
		a = append(a, sum(&s0, run))
		bolt.NoQ = true
		b = append(b, sum(&s1, run))
		c = append(c, rate(n, func(int) error { return ref.put(ev) }))
	}
	_ = s2
	fmt.Printf("callers %d: withqueue %.0f (batch %.1f) without %.0f (batch %.1f) ref %.0f\n", n, median(a), float64(s0.Updates)/float64(s0.Commits), median(b), float64(s1.Updates)/float64(s1.Commits), median(c))
	}
}
