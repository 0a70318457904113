package config
import ("testing";"strings";"fmt";"time")
func TestStress(t *testing.T) {
	for name, text := range map[string]string{
		"workers": strings.Repeat("[[workers]]\nname='a'\n", 1<<20/21),
		"count": strings.Repeat("[[workers]]\nname='a'\ncount=50000\n", 1<<20/35),
		"keys": func() string { var b strings.Builder; for i:=0;b.Len()<1<<20-20;i++ { fmt.Fprintf(&b,"k%d=1\n",i)}; return b.String()}(),
		"steps": "[[builders]]\nname='a'\nsteps=["+strings.Repeat("'x',",1<<18-20)+"]\n",
		"stepstab": "[[builders]]\nname='a'\nsteps=["+strings.Repeat("{run=1},",1<<17-20)+"]\n",
		"dotted": strings.Repeat("a.a.a.a.a.a.a.a.a.a.a=1\n",1<<20/24),
		"locks": "[[builders]]\nname='a'\nlocks=["+strings.Repeat("'x',",1<<18-20)+"]\nsteps=['x']\n",
		"locks2": "[[locks]]\nname='x'\n[[builders]]\nname='a'\nlocks=["+strings.Repeat("'x',",1<<18-20)+"]\nsteps=['x']\n",
		"tags": "[[builders]]\nname='a'\ntags=["+func() string { var b strings.Builder; for i:=0;b.Len()<1<<20-80;i++ { fmt.Fprintf(&b,"'%d',",i)}; return b.String()}()+"]\nsteps=['x']\n",
		"props": "[[builders]]\nname='a'\nproperties={"+strings.Repeat("a={",30)+strings.Repeat("}",30)+"}\nsteps=['x']\n",
		"env": "[[builders]]\nname='a'\nenv={"+func() string { var b strings.Builder; for i:=0;b.Len()<1<<20-80;i++ { fmt.Fprintf(&b,"a%d='',",i)}; return b.String()}()+"}\nsteps=['x']\n",
	} {
		start := time.Now()
		_, _, err := Parse("x", []byte(text))
		n := 0
		if e, ok := err.(Errors); ok { n = len(e) }
		s := fmt.Sprint(err); if len(s)>150 {s=s[:150]}
		t.Log(name, len(text), time.Since(start), n, s)
	}
}
