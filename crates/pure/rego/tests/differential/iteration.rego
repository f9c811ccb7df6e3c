# input: {"rows": [{"id": 1, "tags": ["a", "b"]}, {"id": 2, "tags": []}, {"id": 3, "tags": ["b"]}], "map": {"k": {"v": 1}, "l": {"v": 2}}}
package t

ids := [row.id | some row in input.rows]

pairs contains [i, tag] if {
	some i, row in input.rows
	some tag in row.tags
}

by_tag[tag] contains row.id if {
	some row in input.rows
	some tag in row.tags
}

values := {name: inner.v | some name; inner := input.map[name]}

same contains x if input.rows[x].tags[_] == "b"

walked := {path | walk(input.map, [path, value]); is_number(value)}

first := input.rows[0].id

last := input.rows[count(input.rows) - 1].id

join[x] := y if some x, y in ["p", "q"]

cross contains x if {
	x := input.rows[_].id
	y := input.rows[_].id
	x + y == 4
}

unified if {
	[1, x, {"a": y}] = [1, 2, {"a": 3}]
	x < y
}

nested_set := {{x | x := [1, 2][_]}, {3}}

indexes contains i if input.rows[i]

deep := [x | x := input.rows[_].tags[_]]
