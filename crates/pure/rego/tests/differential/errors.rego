# input: {"zero": 0, "number": 7, "text": "x"}
package t

by_zero := 1 / input.zero

rem_of_a_fraction := 5.5 % 2

under_not if not 1 / input.zero > 0

not_a_number := to_number(input.text)

not_a_time := time.parse_rfc3339_ns(input.text)

of_another_type := upper(input.number)

failed_patch := json.patch({"x": 1}, [{"op": "test", "path": "/x", "value": 2}])

no_regex := regex.match("[", input.text)

no_document := json.unmarshal("{")

no_base64 := base64.decode("%")

in_a_comprehension := [y | some x in ["1", "x", "2"]; y := to_number(x)]

after_all := "reached"
