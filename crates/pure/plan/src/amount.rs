//! Counts that a user may give as a number or as a percentage of the replicas.

/// `maxSurge` or `maxUnavailable`: an absolute count or a percentage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many pods.
    Count(i32),
    /// So many percent of the desired replicas.
    Percent(i32),
}

/// Which way a percentage that gives no whole pod goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the next larger count, as `maxSurge` does.
    Up,
    /// To the next smaller count, as `maxUnavailable` does.
    Down,
}

impl Amount {
    /// Reads `"25%"` or `"3"`; `None` for anything else or a negative number.
    pub fn parse(text: &str) -> Option<Self> {
        let amount = match text.strip_suffix('%') {
            Some(percent) => Self::Percent(percent.parse().ok()?),
            None => Self::Count(text.parse().ok()?),
        };
        let (Self::Count(n) | Self::Percent(n)) = amount;
        (n >= 0).then_some(amount)
    }

    /// The count this amounts to for `total` replicas.
    pub fn of(self, total: i32, rounding: Rounding) -> i32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let hundredths = i64::from(percent) * i64::from(total);
                let count = match rounding {
                    Rounding::Up => (hundredths + 99).div_euclid(100),
                    Rounding::Down => hundredths.div_euclid(100),
                };
                i32::try_from(count).unwrap_or(i32::MAX)
            }
        }
    }
}

/// Resolves surge and unavailability together: when both come to nothing, one pod may be unavailable, since a rollout
/// could not move otherwise.
pub fn fenceposts(max_surge: Amount, max_unavailable: Amount, replicas: i32) -> (i32, i32) {
    let surge = max_surge.of(replicas, Rounding::Up);
    let unavailable = max_unavailable.of(replicas, Rounding::Down);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn surge_rounds_up_unavailable_rounds_down_and_never_both_zero() {
        let mut got = String::new();
        for row in ["25% 25% 1", "25% 25% 3", "25% 25% 10", "0 0 5", "0 1% 5", "1 0 5", "100% 50% 7", "0 0% 0"] {
            let words: Vec<&str> = row.split(' ').collect();
            let (surge, unavailable) = (Amount::parse(words[0]).unwrap(), Amount::parse(words[1]).unwrap());
            got += &format!("{row} -> {:?}\n", fenceposts(surge, unavailable, words[2].parse().unwrap()));
        }
        expect![[r#"
            25% 25% 1 -> (1, 0)
            25% 25% 3 -> (1, 0)
            25% 25% 10 -> (3, 2)
            0 0 5 -> (0, 1)
            0 1% 5 -> (0, 1)
            1 0 5 -> (1, 0)
            100% 50% 7 -> (7, 3)
            0 0% 0 -> (0, 1)
        "#]]
        .assert_eq(&got);
    }

    #[test]
    fn refuses_what_is_no_amount() {
        for text in ["", "%", "-1", "-5%", "a", "1.5", "10 %"] {
            assert_eq!(Amount::parse(text), None, "{text}");
        }
    }
}
