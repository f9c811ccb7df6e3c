# input: {"user": "ann", "key": "b"}
package t

a.b.c := 1

a.b.d if true

a.e[x] := y if some x, y in {"k": "v"}

roles["ann"] := ["admin"]

roles["bob"] := ["viewer"]

own := roles[input.user]

dynamic := a[input.key].c

allowed contains msg if {
	"admin" in roles[input.user]
	msg := "yes"
}

p contains 1

p contains "two"

member if p["two"]

not_member if not p[3]

self := data.t.a.b

with_data := x if {
	x := data.elsewhere.limit with data.elsewhere as {"limit": 3}
}

string_keys := {"a-b": {"c d": 1}}["a-b"]["c d"]

some_key contains k if {
	some k
	roles[k][_] == "viewer"
}

comprehension_closure := [y | x := [1, 2, 3][_]; y := {z | z := x * 2}]

shadow := x if {
	x := 1
	ys := [x | x := 2]
	ys == [2]
}

multi_line := sprintf("%v", [`raw
string`])
