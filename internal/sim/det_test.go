package sim
import ("testing";"fmt";"os")
func TestDet(t *testing.T){
 f,_:=os.Create(os.Getenv("DET_OUT")); defer f.Close()
 p:=&player{t:t}
 for i:=1;i<=400;i++{ s:=i; if os.Getenv("REV")!="" {s=401-i}
  o:=Options{Seed:uint64(s)}; out:=p.play(o); if out==nil {continue}
  fmt.Fprintln(f,s,out.Starts,out.Launches,out.Lost,out.Calls,out.Pushes)}
}
