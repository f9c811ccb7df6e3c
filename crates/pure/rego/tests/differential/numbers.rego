# input: {"big": 12345678901234567890, "float": 0.1, "neg": -7}
package t

sums := [1 + 2, 1.5 + 1.5, input.float + 0.2, input.neg % 3, 7 % -3, 10 / 4, 9 / 3]

big := input.big + 0

rounded := [round(2.5), round(-2.5), ceil(2.1), floor(-2.1), abs(-3)]

compared := [1 == 1.0, 1 < 2, "a" < "b", [1] < [1, 2], null < false, {} > []]

ranges := [numbers.range(1, 4), numbers.range(4, 1), numbers.range_step(1, 10, 3)]

bits_of := [bits.and(6, 3), bits.or(6, 3), bits.xor(6, 3), bits.negate(6), bits.lsh(1, 10), bits.rsh(1024, 3)]

formatted := [format_int(255, 16), format_int(5.7, 10), to_number("3.5"), to_number("1e3")]

aggregated := [count("ab"), sum([1, 2.5]), product([2, 3]), max([1, 3, 2]), min({4, 2}), sort([3, 1, 2])]

units_of := [units.parse("10Ki"), units.parse("1.5G"), units.parse_bytes("10MB"), units.parse_bytes("1KiB"), units.parse("100m")]

max_of_none := max([])

fractions := [0.1 + 0.2, 0.3 - 0.1, 0.1 * 3, 1.1 + 2.2, 1 / 3 > 0.3333, 100 * 1.1, sum([0.1, 0.2, 0.3])]
