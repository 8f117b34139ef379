package dial

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

func TestControl(t *testing.T) {
	const none, private, anyone = "nobody", "private", "anyone"
	for _, c := range []struct{ address, for_ string }{
		// Refused to all.
		{"169.254.169.254:80", none}, {"169.254.0.1:80", none}, {"[fe80::1]:80", none}, {"[fe80::1%eth0]:80", none},
		{"[::ffff:a9fe:a9fe]:80", none}, {"[::ffff:169.254.169.254]:80", none}, {"[::a9fe:a9fe]:80", none},
		{"[64:ff9b::a9fe:a9fe]:80", none}, {"[2002:a9fe:a9fe::1]:80", none},
		{"0.0.0.0:80", none}, {"0.1.2.3:80", none}, {"[::]:80", none}, {"[::ffff:0.0.0.0]:80", none},
		{"224.0.0.1:80", none}, {"239.255.255.250:1900", none}, {"[ff02::1]:80", none}, {"[::ffff:224.0.0.1]:80", none},
		{"255.255.255.255:80", none}, {"[fd00:ec2::254]:80", none}, {"100.100.100.200:80", none},
		{"168.63.129.16:80", none}, {"192.0.0.192:80", none}, {"[::ffff:100.100.100.200]:80", none},
		// One's own machine and networks.
		{"127.0.0.1:80", private}, {"127.8.9.1:80", private}, {"[::1]:80", private}, {"[::ffff:127.0.0.1]:80", private},
		{"[64:ff9b::7f00:1]:80", private}, {"[2002:7f00:1::]:80", private}, {"[::7f00:1]:80", private},
		{"10.0.0.1:80", private}, {"172.16.5.4:80", private}, {"192.168.1.1:80", private}, {"[::ffff:10.0.0.1]:80", private},
		{"100.64.0.1:80", private}, {"192.0.0.8:80", private}, {"198.18.0.1:80", private}, {"240.0.0.1:80", private},
		{"[fd12:3456::1]:80", private}, {"[fec0::1]:80", private}, {"[100::1]:80", private},
		// The internet.
		{"1.1.1.1:443", anyone}, {"172.15.0.1:80", anyone}, {"172.32.0.1:80", anyone}, {"169.253.0.1:80", anyone},
		{"169.255.0.1:80", anyone}, {"100.63.0.1:80", anyone}, {"[2606:4700::1111]:443", anyone},
		{"[64:ff9b::101:101]:443", anyone}, {"[2002:101:101::1]:443", anyone}, {"[::ffff:1.1.1.1]:443", anyone},
	} {
		network := "tcp4"
		if strings.HasPrefix(c.address, "[") {
			network = "tcp6"
		}
		for _, p := range []Policy{{}, {Private: true}} {
			err := p.Control(network, c.address, nil)
			want := c.for_ == anyone || c.for_ == private && p.Private
			if (err == nil) != want || err != nil && !errors.Is(err, ErrRefused) {
				t.Errorf("%s, %+v: %v, allowed to %s", c.address, p, err, c.for_)
			}
		}
	}
}

func TestControlRefusesTheServerItself(t *testing.T) {
	own := netip.MustParseAddrPort("127.0.0.1:26866")
	p := Policy{Private: true, Own: func(a netip.AddrPort) bool { return a == own }}
	for address, ok := range map[string]bool{"127.0.0.1:26866": false, "[::ffff:127.0.0.1]:26866": false, "127.0.0.1:26867": true} {
		if err := p.Control("tcp4", address, nil); ok != (err == nil) || !ok && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestControlRefusesWhatItCannotRead(t *testing.T) {
	for _, c := range []struct{ network, address string }{
		{"unix", "/run/docker.sock"}, {"udp4", "1.1.1.1:53"}, {"tcp", "1.1.1.1:80"}, {"tcp4", "localhost:80"},
		{"tcp4", "1.1.1.1"}, {"tcp4", ""}, {"tcp4", "2130706433:80"}, {"tcp4", "0x7f.1:80"},
	} {
		if err := (Policy{Private: true}).Control(c.network, c.address, nil); !errors.Is(err, ErrRefused) {
			t.Errorf("%s %s: %v", c.network, c.address, err)
		}
	}
	if err := (Policy{Private: true}).Check(netip.Addr{}); !errors.Is(err, ErrRefused) {
		t.Errorf("no address: %v", err)
	}
}

// server counts the connections it gets.
func server(t *testing.T, h http.HandlerFunc) (url string, hits *atomic.Int32) {
	t.Helper()
	hits = &atomic.Int32{}
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			hits.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL, hits
}

// However this machine is spelled, nothing arrives.
func TestClientReachesOnlyWhatIsAllowed(t *testing.T) {
	u, hits := server(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "inside") })
	port := u[strings.LastIndexByte(u, ':'):]
	public, private := Client(Options{}), Client(Options{Policy: Policy{Private: true}})
	for _, host := range []string{"127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "017700000001", "[::ffff:127.0.0.1]",
		"[::ffff:7f00:1]", "[::1]", "0.0.0.0", "0", "[::]"} {
		if res, err := public.Get("http://" + host + port + "/"); err == nil {
			res.Body.Close()
			t.Errorf("%s was reached", host)
		}
	}
	for _, host := range []string{"0.0.0.0", "[::]", "[::ffff:0.0.0.0]"} {
		if res, err := private.Get("http://" + host + port + "/"); err == nil {
			res.Body.Close()
			t.Errorf("%s was reached", host)
		} else if !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d connections arrived", n)
	}
	res, err := private.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "inside" {
		t.Errorf("%q %v", b, err)
	}
}

func TestClientFollowsNoRedirect(t *testing.T) {
	there, hits := server(t, func(http.ResponseWriter, *http.Request) {})
	here, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, there, http.StatusTemporaryRedirect)
	})
	req, err := http.NewRequest(http.MethodPost, here, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", "secret")
	res, err := Client(Options{Policy: Policy{Private: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusTemporaryRedirect || hits.Load() != 0 {
		t.Errorf("status %d, %d connections where it leads", res.StatusCode, hits.Load())
	}
}

func TestClientVerifiesUnlessTold(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	p := Policy{Private: true}
	if res, err := Client(Options{Policy: p}).Get(s.URL); err == nil {
		res.Body.Close()
		t.Error("an unknown certificate was taken")
	}
	res, err := Client(Options{Policy: p, Insecure: true}).Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

// What a proxy is asked for is checked where it is written out.
func TestProxyGetsNoRefusedAddress(t *testing.T) {
	proxy := &url.URL{Scheme: "http", Host: "proxy.example:3128"}
	guarded := Policy{}.guard(http.ProxyURL(proxy))
	for host, ok := range map[string]bool{"api.example": true, "1.1.1.1": true, "169.254.169.254": false, "[::ffff:a9fe:a9fe]": false, "10.0.0.1": false} {
		u, err := url.Parse("http://" + host + "/")
		if err != nil {
			t.Fatal(err)
		}
		via, err := guarded(&http.Request{URL: u})
		if ok != (via == proxy) || !ok && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v %v", host, via, err)
		}
	}
}
