# input: {"a": {"b": {"c": 1, "d": [1, 2, 3]}}, "e": "f"}
package t

sets := [{1, 2} & {2, 3}, {1} | {2}, {1, 2} - {2}, intersection({{1, 2}, {2}}), union({{1}, {2}}), set()]

arrays := [array.concat([1], [2]), array.slice([1, 2, 3], 1, 9), array.reverse([1, 2]), array.slice([1, 2], 2, 1)]

objects := [
	object.get(input, ["a", "b", "c"], 0),
	object.get(input, "x", "none"),
	object.keys(input),
	object.remove(input, ["a"]),
	object.filter(input, ["e"]),
	object.union({"a": {"x": 1}}, {"a": {"y": 2}}),
	object.union_n([{"a": 1}, {"b": 2}, {"a": 3}]),
	object.subset({"a": [1, 2, 3]}, {"a": [1, 2]}),
	object.subset([1, 2, 3], [2, 3]),
]

documents := [
	json.remove(input, ["a/b/c"]),
	json.filter(input, ["a/b/c", "e"]),
	json.patch({"x": [1, 2]}, [{"op": "add", "path": "/x/-", "value": 3}, {"op": "remove", "path": "/x/0"}]),
	json.patch({"x": 1}, [{"op": "test", "path": "/x", "value": 1}, {"op": "replace", "path": "/x", "value": 2}]),
	json.marshal({"b": 1, "a": [true, null]}),
	json.unmarshal("{\"a\": [1, 2.5]}"),
	json.is_valid("{"),
	yaml.unmarshal("a: [1, x]\nb: true\n"),
	json.marshal_with_options({"a": 1}, {"pretty": true, "indent": " "}),
]

types := [type_name(x) | some x in [null, true, 1, "s", [1], {"k": 1}, {1}]]

is_of := [is_null(null), is_boolean(true), is_number(1), is_string("a"), is_array([]), is_object({}), is_set(set())]

graphs := [
	graph.reachable({"a": ["b"], "b": ["c"], "c": []}, ["a"]),
	graph.reachable_paths({"a": ["b", "c"], "b": [], "c": []}, ["a"]),
]

ordered := sort([{"b": 1}, [2], "x", 3, null, true, {1}])

object_keys_of_any_type := {[1, 2]: "array", {"k": 1}: "object", 3: "number"}

merged := {"a": 1, "b": 2} == {"b": 2, "a": 1}
