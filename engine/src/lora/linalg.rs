//! The linear algebra of low ranks: orthonormal bases, orthogonal parts, eigenvectors. Rows are f64 where
//! rounding adds up.

/// Of each of the `rows` (`[.., inputs]`) the part that is orthogonal to all rows of `a`.
pub fn orthogonal_part(rows: &[f32], a: &[f32], inputs: usize) -> Vec<f32> {
    let basis = basis(a, inputs);
    let mut all = Vec::with_capacity(rows.len());
    for row in rows.chunks_exact(inputs) {
        let mut row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        orthogonalise(&mut row, &basis);
        all.extend(row.iter().map(|x| *x as f32));
    }
    all
}

/// An orthonormal basis of the space that the rows of `a` (`[.., inputs]`) span, by Gram–Schmidt: row i is made
/// from row i of `a`, and is zero if that row depends on the rows before it.
pub fn basis(a: &[f32], inputs: usize) -> Vec<f64> {
    let mut basis: Vec<f64> = Vec::with_capacity(a.len());
    for row in a.chunks_exact(inputs) {
        let mut row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        let length = dot(&row, &row).sqrt();
        orthogonalise(&mut row, &basis);
        let left = dot(&row, &row).sqrt();
        let scale = if left > 1e-6 * length {
            1.0 / left
        } else {
            0.0
        };
        basis.extend(row.iter().map(|x| scale * x));
    }
    basis
}

/// Makes a row orthogonal to the rows of a basis.
fn orthogonalise(row: &mut [f64], basis: &[f64]) {
    // Twice is enough against rounding (Kahan and Parlett).
    for _ in 0..2 {
        for direction in basis.chunks_exact(row.len()) {
            let share = dot(row, direction);
            row.iter_mut()
                .zip(direction)
                .for_each(|(x, d)| *x -= share * d);
        }
    }
}

/// The eigenvectors of a symmetric matrix, those of the largest eigenvalues first (cyclic Jacobi rotations).
pub fn eigenvectors(mut m: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let n = m.len();
    let mut vectors = vec![vec![0.0; n]; n];
    (0..n).for_each(|i| vectors[i][i] = 1.0);
    let total: f64 = m.iter().flatten().map(|x| x * x).sum();
    for _ in 0..MAX_SWEEPS {
        let off: f64 = (0..n)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| m[i][j] * m[i][j])
            .sum();
        if off <= 1e-24 * total {
            break;
        }
        for i in 0..n {
            for j in i + 1..n {
                if m[i][j] != 0.0 {
                    let angle = 0.5 * (2.0 * m[i][j]).atan2(m[i][i] - m[j][j]);
                    let (sin, cos) = angle.sin_cos();
                    for row in &mut m {
                        (row[i], row[j]) =
                            (cos * row[i] + sin * row[j], cos * row[j] - sin * row[i]);
                    }
                    rotate_rows(&mut m, i, j, sin, cos);
                    rotate_rows(&mut vectors, i, j, sin, cos);
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| m[j][j].total_cmp(&m[i][i]));
    order
        .into_iter()
        .map(|i| std::mem::take(&mut vectors[i]))
        .collect()
}

/// Jacobi's method converges quadratically, in six to ten sweeps.
const MAX_SWEEPS: usize = 30;

/// Rotates rows i and j of `m`, i < j, in their plane.
fn rotate_rows(m: &mut [Vec<f64>], i: usize, j: usize, sin: f64, cos: f64) {
    let (upper, lower) = m.split_at_mut(j);
    for (x, y) in upper[i].iter_mut().zip(&mut lower[0]) {
        (*x, *y) = (cos * *x + sin * *y, cos * *y - sin * *x);
    }
}

pub fn dot(x: &[f64], y: &[f64]) -> f64 {
    // Eight lanes, so that the compiler can use whole vectors.
    let mut lanes = [0.0; 8];
    let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
    let rest: f64 = xs
        .remainder()
        .iter()
        .zip(ys.remainder())
        .map(|(x, y)| x * y)
        .sum();
    for (x, y) in xs.zip(ys) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basis_is_orthonormal_and_leaves_out_what_depends() {
        let a = [3.0, 0.0, 0.0, 1.0, 1.0, 0.0, 4.0, 2.0, 0.0];
        let q = basis(&a, 3);
        assert_eq!(q, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
