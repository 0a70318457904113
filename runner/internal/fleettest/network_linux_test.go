package fleettest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"bothy/runner/internal/testrig"
)

// network is two network namespaces and a cable between them: the master lives
// in one, the worker in the other. Nothing of it can be reached from elsewhere.
type network struct {
	t             testing.TB
	near, far     string // the namespaces
	masterAddr    string
	nearIf, farIf string
}

var networks atomic.Int64

// newNetwork makes a network that ends with the test.
func newNetwork(t testing.TB) *network {
	t.Helper()
	testrig.NeedRoot(t)
	need(t, "ip", "iptables", "nsenter")
	id := fmt.Sprintf("%d-%d", os.Getpid(), networks.Add(1))
	n := &network{t: t, near: "bothy-m" + id, far: "bothy-w" + id, masterAddr: "192.0.2.1", nearIf: "cable", farIf: "cable"}
	for _, ns := range []string{n.near, n.far} {
		n.ip("netns", "add", ns)
		t.Cleanup(func() {
			if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
				t.Errorf("remove namespace %s: %v\n%s", ns, err, out)
			}
		})
	}
	n.ip("link", "add", n.nearIf, "netns", n.near, "type", "veth", "peer", "name", n.farIf, "netns", n.far)
	for ns, addr := range map[string]string{n.near: n.masterAddr, n.far: "192.0.2.2"} {
		n.ip("-n", ns, "addr", "add", addr+"/30", "dev", "cable")
		n.ip("-n", ns, "link", "set", "cable", "up")
		n.ip("-n", ns, "link", "set", "lo", "up")
	}
	return n
}

// in is a command that runs another in a namespace. "ip netns exec" would hide the
// cgroups.
func in(ns string) []string { return []string{"nsenter", "--net=/run/netns/" + ns} }

func (n *network) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// filter changes the firewall of the master's side.
func (n *network) filter(args ...string) {
	n.t.Helper()
	argv := append(in(n.near), append([]string{"iptables", "-w"}, args...)...)
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}

// fault is a way in which a network fails.
type fault struct {
	name          string
	begin, finish func(n *network)
}

// unplugged is a cable that was pulled out: the route is gone, too.
var unplugged = fault{
	"link down",
	func(n *network) { n.ip("-n", n.far, "link", "set", n.farIf, "down") },
	func(n *network) { n.ip("-n", n.far, "link", "set", n.farIf, "up") },
}

// dropped is a firewall that swallows everything.
var dropped = fault{
	"packets dropped",
	func(n *network) {
		n.filter("-A", "INPUT", "-i", n.nearIf, "-j", "DROP")
		n.filter("-A", "OUTPUT", "-o", n.nearIf, "-j", "DROP")
	},
	func(n *network) { n.filter("-F") },
}

// lossy loses 5 % of the packets both ways.
var lossy = fault{
	"5 % loss",
	func(n *network) {
		for _, chain := range []string{"INPUT", "OUTPUT"} {
			n.filter("-A", chain, "-m", "statistic", "--mode", "random", "--probability", "0.05", "-j", "DROP")
		}
	},
	func(n *network) { n.filter("-F") },
}

// start starts a Bothy on the network.
func (n *network) start(p *plan) *master {
	n.t.Helper()
	return newBothy(n.t, p, where{host: n.masterAddr, wrap: in(n.near)})
}

// peer starts a worker at the other end of the cable, or beside the master.
func (n *network) peer(b breed, m *master, name string, beside bool) *peer {
	n.t.Helper()
	ns := n.far
	if beside {
		ns = n.near
	}
	p := newPeer(n.t, b, m, name, "", in(ns)...)
	p.launch()
	return p
}
