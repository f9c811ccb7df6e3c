# input: {}
package t

kind(x) := "small" if x < 10

kind(x) := "large" if x >= 100

kind(x) := "middle" if {
	x >= 10
	x < 100
}

kinds := [kind(x) | some x in [3, 50, 100]]

first("a", _)

first("b", x) if x > 1

matched := [first("a", 1), first("b", 2)]

unmatched := first("b", 1)

default level(_) := 0

level(x) := 1 if x == "one"

levels := [level("one"), level("two")]

chain := "a" if {
	false
} else := "b" if {
	false
} else := "c"

default answer := "default"

answer := "set" if 1 > 2

pattern({"k": [x, y]}) := x + y

sum := pattern({"k": [1, 2]})

object_of_functions := {name: v | some name in ["a"]; v := sprintf("%s-%d", [name, 7])}

mocked := x if {
	x := kind(3) with data.t.limit as 7
}

time_mocked := x if {
	x := time.now_ns() with time.now_ns as 5
}

input_replaced := [a, b] if {
	a := object.get(input, "who", "nobody")
	b := input.who with input.who as "ann"
}
