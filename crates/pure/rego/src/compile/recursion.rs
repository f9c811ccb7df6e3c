//! Who needs whom: a rule that needs itself has no value, and a chain of calls must fit on the stack.

/// Which groups mention which.
pub(crate) struct Calls {
    edges: Vec<Vec<u32>>,
}

impl Calls {
    pub(crate) fn new(groups: usize) -> Calls {
        Calls { edges: vec![Vec::new(); groups] }
    }

    pub(crate) fn add(&mut self, from: u32, to: u32) {
        if let Some(edges) = self.edges.get_mut(from as usize)
            && !edges.contains(&to)
        {
            edges.push(to);
        }
    }

    /// The groups of one cycle, if there is any.
    pub(crate) fn cycle(&self) -> Option<Vec<u32>> {
        // 0: not seen, 1: on the way, 2: done.
        let mut state = vec![0u8; self.edges.len()];
        for start in 0..self.edges.len() {
            if state[start] != 0 {
                continue;
            }
            // The way from `start`, each with the next edge to follow; a stack of its own, since chains may be long.
            let mut way: Vec<(usize, usize)> = vec![(start, 0)];
            state[start] = 1;
            while let Some((at, edge)) = way.last_mut() {
                let Some(next) = self.edges[*at].get(*edge).map(|n| *n as usize) else {
                    state[*at] = 2;
                    way.pop();
                    continue;
                };
                *edge += 1;
                match state[next] {
                    0 => {
                        state[next] = 1;
                        way.push((next, 0));
                    }
                    1 => {
                        let from = way.iter().position(|(at, _)| *at == next).unwrap_or(0);
                        return Some(way[from..].iter().map(|(at, _)| *at as u32).collect());
                    }
                    _ => {}
                }
            }
        }
        None
    }
}
