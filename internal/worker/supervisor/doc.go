// Package supervisor runs every job under a small process of ours that ends
// the job's whole process tree when it must, whatever became of the worker.
//
// # Processes
//
//	worker ──exec self──▶ supervisor ──fork──▶ init of job 1 ──exec──▶ the job's program ─▶ its children
//	  │  orders: socket      (one per worker) ├─▶ init of job 2 ──exec──▶ …
//	  ▼  status: pipe ◀───────────────────────┴── (every init writes to it itself)
//
// The supervisor is the worker's own binary, executed once per worker. For each
// job it forks an init, which is not executed again: it runs one loop of raw
// system calls (see init.go), because starting this binary costs more processor
// time than a short job does. Where the system allows, the init is PID 1 of its
// own PID namespace, with a /proc of its own; where it does not, it is a child
// subreaper, which finds the job's descendants by walking down from itself.
//
// With walls (see walls.go) the supervisor lives in a root of its own, of which
// each init has a copy with its job's folder in it. A template (see template.go)
// is a program that forks others: its forks become children of their own inits.
//
// # Life of an init
//
//	forked ─(exec succeeded: says "launched")─▶ running ─(program ended)─▶ lingering ─┐
//	   │                                           │                                  │ linger ran out
//	   └─(exec failed)─▶ gone                      ├─(order: TERM)─▶ grace ─(ran out)─┤
//	                                               └─(kill now, lease over, pipe      ▼
//	                                                  closed)─────────────────────▶ KILL ─(no child is left)─▶ gone
//
// "gone" is said when wait4 finds no child any more, after which the init itself
// is the only process left. An init orders KILL on its own account when
//
//   - the supervisor's end of its pipe closes. The supervisor closes all of them
//     when its socket to the worker closes, and the kernel does when the
//     supervisor dies;
//   - the lease is over. The worker sends the instant (of CLOCK_BOOTTIME, which
//     runs on while the machine sleeps) until which its lease is valid; the
//     supervisor stores it in a page that all inits share. Each init has a timer
//     of its own for it, so neither worker nor supervisor need be running.
//
// # What proves that a tree is gone
//
// The status pipe is held open by the supervisor and by each init, never by a
// job. Its end of file therefore says that every tree is gone, even when the
// supervisor was killed. The instance lock is held in the same way: a new server
// that obtains it knows that no tree of the dead one is left. An init drops both
// only by ending, after its tree; if an init is killed from outside, the
// supervisor still holds them and waits for the kernel to end the namespace
// (without a namespace, it ends the orphans, whose subreaper it is).
// Only a simultaneous SIGKILL of the worker, of the supervisor and of an init
// leaves a gap, of the few microseconds between the kernel's closing of an
// init's files and its ending of the namespace.
//
// # Example
//
//	func main() {
//		supervisor.Main() // never returns in the re-executed process
//		iso, err := supervisor.Probe()
//		…
//		s, err := supervisor.Start(supervisor.Config{Isolation: iso})
//		s.Extend(supervisor.BootNow() + time.Minute)
//		p, err := s.Launch(supervisor.Command{Path: "/bin/bash", Args: []string{"bash", "main.sh"}, …})
//		<-p.Gone()
//		fmt.Println(p.Exit().Status.ExitStatus())
//	}
package supervisor
