//! Quantities such as `500m`, `1Gi` and `1e3`.
//!
//! A quantity is an exact decimal in units of 10⁻⁹, as in Kubernetes, and prints canonically.

/// An amount of a resource.
///
/// Amounts compare by value: `1Ki` equals `1024`.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// The family of suffixes a quantity was written with, kept for printing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Binary,
    Decimal,
    Exponent,
}

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text breaks the grammar.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Syntax,
    /// The suffix is unknown.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANO: i128 = 1_000_000_000;
/// Kubernetes caps amounts at the largest `int64`.
const MAX: i128 = i64::MAX as i128 * NANO;

const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [(i32, &str); 10] =
    [(18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k"), (0, ""), (-3, "m"), (-6, "u"), (-9, "n")];

impl std::str::FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = digits.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(digits.len());
        let (number, suffix) = digits.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(QuantityError::Syntax);
        }
        let (format, base, exponent) = scale(suffix)?;
        let nanos = combine(whole, fraction, base, exponent);
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }
}

/// Format, binary factor and decimal exponent of a suffix.
fn scale(suffix: &str) -> Result<(Format, i128, i32), QuantityError> {
    if let Some(at) = BINARY.iter().position(|it| *it == suffix) {
        return Ok((Format::Binary, 1 << (10 * (at + 1)), 0));
    }
    if let Some((exponent, _)) = DECIMAL.iter().find(|it| it.1 == suffix) {
        return Ok((Format::Decimal, 1, *exponent));
    }
    match suffix.strip_prefix(['e', 'E']) {
        Some(exponent) => {
            let exponent = exponent.parse::<i32>().map_err(|_| QuantityError::Suffix)?;
            Ok((Format::Exponent, 1, exponent))
        }
        None => Err(QuantityError::Suffix),
    }
}

/// `whole.fraction × base × 10^exponent` in nanos, rounded up, capped at [`MAX`].
fn combine(whole: &str, fraction: &str, base: i128, exponent: i32) -> i128 {
    // Digits beyond these matter only for rounding up, which any of them being non-zero decides.
    const DIGITS_MAX: usize = 60;
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let shift = i64::from(exponent) + 9 - fraction.len() as i64;
    if digits.is_empty() {
        return 0;
    }
    if digits.len() as i64 + shift > DIGITS_MAX as i64 {
        return MAX;
    }
    // Number of digits that stay left of the point once scaled to nanos.
    let kept = (digits.len() as i64 + shift.min(0)).max(0) as usize;
    let (head, tail) = digits.split_at(kept.min(digits.len()));
    let up = shift.max(0) as u32;
    let parse = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i128>().ok() };
    let exact = parse(head).and_then(|it| it.checked_mul(10i128.checked_pow(up)?)).and_then(|it| it.checked_mul(base));
    let Some(exact) = exact else { return MAX };
    // With a binary factor the tail can still reach whole nanos.
    let tail = &tail[..tail.len().min(18)];
    let lost = -shift - (tail.len() as i64).min(-shift);
    let part = if tail.trim_end_matches('0').is_empty() {
        0
    } else if lost > 0 && base == 1 {
        1
    } else {
        let value = parse(tail).unwrap_or(0) * base;
        let divisor = 10i128.checked_pow((tail.len() as i64 + lost.max(0)) as u32).unwrap_or(i128::MAX);
        value / divisor + i128::from(value % divisor != 0)
    };
    (exact + part).min(MAX)
}

impl Quantity {
    /// A whole number of units.
    pub fn from_units(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANO, format: Format::Decimal }
    }

    /// A number of thousandths.
    pub fn from_millis(millis: i64) -> Self {
        Self { nanos: i128::from(millis) * (NANO / 1000), format: Format::Decimal }
    }

    /// A number of bytes, printed with binary suffixes.
    pub fn from_bytes(bytes: u64) -> Self {
        Self { nanos: i128::from(bytes).min(i128::from(i64::MAX)) * NANO, format: Format::Binary }
    }

    /// Whole units, rounded up: bytes of memory, number of pods.
    pub fn units(self) -> i64 {
        saturate(div_up(self.nanos, NANO))
    }

    /// Thousandths, rounded up: millicores.
    pub fn millis(self) -> i64 {
        saturate(div_up(self.nanos, NANO / 1000))
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it has no fraction.
    pub fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    /// The difference, in the format of `self`.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self { nanos: (self.nanos - other.nanos).clamp(-MAX, MAX), format: self.format }
    }

    /// How many times `other` goes into it.
    pub fn ratio(self, other: Self) -> f64 {
        self.nanos as f64 / other.nanos as f64
    }

    /// A multiple, rounded down to a billionth, in the format of `self`; nothing for what is no number.
    pub fn scale(self, by: f64) -> Option<Self> {
        let scaled = self.nanos as f64 * by;
        scaled.is_finite().then(|| {
            // Whole factors stay exact.
            let exact = if by.fract() == 0.0 && by.abs() < 9e15 { self.nanos.checked_mul(by as i128) } else { None };
            let nanos = exact.unwrap_or(scaled.round() as i128);
            Self { nanos: nanos.clamp(-MAX, MAX), format: self.format }
        })
    }

    /// The sum, in the format of `self`, or of `other` where `self` is zero.
    pub fn saturating_add(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: (self.nanos + other.nanos).clamp(-MAX, MAX), format }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

fn div_up(value: i128, by: i128) -> i128 {
    value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0)
}

fn saturate(value: i128) -> i64 {
    value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        // Binary suffixes make no sense below 1024 or for fractions: Kubernetes turns to decimal ones.
        if self.format == Format::Binary && self.nanos % NANO == 0 && self.nanos.abs() >= 1024 * NANO {
            let (mut value, mut suffix) = (self.nanos / NANO, "");
            for next in BINARY {
                if value % 1024 != 0 {
                    break;
                }
                (value, suffix) = (value / 1024, next);
            }
            return write!(f, "{value}{suffix}");
        }
        let (value, exponent, suffix) = decimal(self.nanos);
        match self.format {
            Format::Exponent if exponent != 0 => write!(f, "{value}e{exponent}"),
            _ => write!(f, "{value}{suffix}"),
        }
    }
}

/// The largest suffix that leaves a whole number.
fn decimal(nanos: i128) -> (i128, i32, &'static str) {
    for (exponent, suffix) in DECIMAL {
        let unit = 10i128.pow((exponent + 9) as u32);
        if nanos % unit == 0 {
            return (nanos / unit, exponent, suffix);
        }
    }
    (nanos, -9, "n")
}

/// The canonical text of a quantity, as Kubernetes stores it.
pub fn canonical(text: &str) -> Result<String, QuantityError> {
    Ok(text.parse::<Quantity>()?.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Quantity {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn prints_canonically() {
        for (from, to) in [
            ("0", "0"),
            ("1", "1"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("1500Mi", "1500Mi"),
            ("1Ki", "1Ki"),
            ("1000", "1k"),
            ("100000", "100k"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("12e6", "12e6"),
            ("0.1Gi", "107374182400m"),
            ("-5", "-5"),
            ("+5", "5"),
            ("1.5Gi", "1536Mi"),
            ("512", "512"),
            (".5", "500m"),
            ("5.", "5"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("1E", "1E"),
            ("0.0001", "100u"),
            ("100m", "100m"),
            ("0Ki", "0"),
            ("1.0001Ki", "1024102400u"),
            ("00012", "12"),
        ] {
            assert_eq!(parse(from).to_string(), to, "{from}");
        }
    }

    #[test]
    fn units_round_up() {
        assert_eq!(parse("100m").millis(), 100);
        assert_eq!(parse("100m").units(), 1);
        assert_eq!(parse("1.0005").millis(), 1001);
        assert_eq!(parse("64Mi").units(), 64 << 20);
        assert_eq!(parse("-100m").units(), 0);
        assert_eq!(parse("9999999999999999999999E").units(), i64::MAX);
        assert!(parse("1Gi") > parse("1G") && parse("1Ki") == parse("1024"));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "-", ".", "1.2.3", "abc", "1x", "1 Gi", "1gi", "1e", "1e99999999999", "١", "1K"] {
            assert!(bad.parse::<Quantity>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails_and_canonical_is_stable(text in "[+-]?[0-9]{0,30}\\.?[0-9]{0,30}(m|k|Ki|Mi|Ei|E|e-?[0-9]{1,4}|n|u|)") {
            if let Ok(once) = canonical(&text) {
                prop_assert_eq!(canonical(&once).expect("canonical parses"), once);
            }
        }

        #[test]
        fn whole_numbers_survive(units in 0i64..) {
            prop_assert_eq!(parse(&units.to_string()).units(), units);
        }
    }
}
