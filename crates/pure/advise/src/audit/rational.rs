//! Exact solutions of small systems of linear equations. Entry point: [`solve`].

use std::{cmp::Ordering, fmt};

/// A fraction in lowest terms with a positive denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rational {
    over: i128,
    under: i128,
}

impl Rational {
    pub(super) fn whole(it: i64) -> Self {
        Self { over: i128::from(it), under: 1 }
    }

    /// None when the numbers grow too large.
    fn of(over: i128, under: i128) -> Option<Self> {
        let mut pair = (over.unsigned_abs(), under.unsigned_abs());
        while pair.1 != 0 {
            pair = (pair.1, pair.0 % pair.1);
        }
        let divisor = i128::try_from(pair.0.max(1)).ok()? * under.signum();
        (under != 0).then(|| Self { over: over / divisor, under: under / divisor })
    }

    fn less_product(self, factor: Self, other: Self) -> Option<Self> {
        let product = Self::of(factor.over.checked_mul(other.over)?, factor.under.checked_mul(other.under)?)?;
        let over = self.over.checked_mul(product.under)?.checked_sub(product.over.checked_mul(self.under)?)?;
        Self::of(over, self.under.checked_mul(product.under)?)
    }

    fn divided(self, by: Self) -> Option<Self> {
        Self::of(self.over.checked_mul(by.under)?, self.under.checked_mul(by.over)?)
    }

    fn is_zero(self) -> bool {
        self.over == 0
    }

    pub(super) fn order(self, other: Self) -> Ordering {
        (self.over * other.under).cmp(&(other.over * self.under))
    }
}

impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.under == 1 { write!(f, "{}", self.over) } else { write!(f, "{}/{}", self.over, self.under) }
    }
}

/// What a system comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Solution {
    /// One solution.
    One(Vec<Rational>),
    /// More than one.
    Many,
    /// None.
    None,
}

/// Solves `rows · x = totals`, by elimination.
pub(super) fn solve(rows: &[Vec<i64>], totals: &[i64]) -> Solution {
    let width = rows.first().map_or(0, Vec::len);
    let whole = |(row, total): (&Vec<i64>, &i64)| row.iter().chain([total]).map(|it| Rational::whole(*it)).collect();
    let mut matrix: Vec<Vec<Rational>> = rows.iter().zip(totals).map(whole).collect();
    let mut rank = 0;
    for column in 0..width {
        let Some(pivot) = (rank..matrix.len()).find(|at| !matrix[*at][column].is_zero()) else { continue };
        matrix.swap(rank, pivot);
        if eliminate(&mut matrix, rank, column).is_none() {
            return Solution::None;
        }
        rank += 1;
    }
    let contradicts = |row: &Vec<Rational>| row[..width].iter().all(|it| it.is_zero()) && !row[width].is_zero();
    if matrix.iter().any(contradicts) {
        Solution::None
    } else if rank < width {
        Solution::Many
    } else {
        Solution::One(matrix[..width].iter().map(|row| row[width]).collect())
    }
}

/// Makes the pivot one and its column zero elsewhere.
fn eliminate(matrix: &mut [Vec<Rational>], pivot: usize, column: usize) -> Option<()> {
    let by = matrix[pivot][column];
    for cell in &mut matrix[pivot] {
        *cell = cell.divided(by)?;
    }
    let lead = matrix[pivot].clone();
    for (at, row) in matrix.iter_mut().enumerate() {
        let factor = row[column];
        if at != pivot && !factor.is_zero() {
            for (cell, above) in row.iter_mut().zip(&lead) {
                *cell = cell.less_product(factor, *above)?;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_have_one_solution_or_many_or_none() {
        let rows = vec![vec![5, 5, 5, 4], vec![3, 2, 5, 5], vec![2, 5, 2, 3], vec![1, 2, 2, 5]];
        let Solution::One(found) = solve(&rows, &[24, 18, 12, 10]) else { panic!("one solution") };
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["3", "1/3", "2/3", "1"]);
        assert_eq!(solve(&[vec![1, 1]], &[2]), Solution::Many);
        assert_eq!(solve(&[vec![1, 1], vec![2, 2]], &[2, 5]), Solution::None);
    }
}
