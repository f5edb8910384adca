//! Boolean circuits over a SAT solver: gates are built as they are needed, each once (Tseitin's encoding).
//!
//! It knows nothing of policies.

use std::collections::HashMap;

use batsat::{BasicSolver, Lit, SolverInterface, lbool};

/// A solver with the gates that were built in it.
pub struct Circuit {
    solver: BasicSolver,
    yes: Lit,
    gates: HashMap<Box<[Lit]>, Lit>,
}

/// Values for which everything that was demanded and assumed holds.
pub struct Model(Vec<lbool>);

impl Model {
    pub fn is(&self, lit: Lit) -> bool {
        let value = self.0.get(lit.var().idx() as usize).copied().unwrap_or(lbool::FALSE);
        // A variable that the solver left open may be anything; it is read as false.
        (value == lbool::TRUE) == lit.sign()
    }
}

impl Circuit {
    pub fn new() -> Circuit {
        let mut solver = BasicSolver::default();
        let yes = Lit::new(solver.new_var_default(), true);
        solver.add_clause_reuse(&mut vec![yes]);
        Circuit { solver, yes, gates: HashMap::new() }
    }

    pub fn constant(&self, value: bool) -> Lit {
        self.yes.apply_sign(value)
    }

    /// What may be true or false.
    pub fn input(&mut self) -> Lit {
        Lit::new(self.solver.new_var_default(), true)
    }

    pub fn inputs(&mut self, count: usize) -> Vec<Lit> {
        (0..count).map(|_| self.input()).collect()
    }

    pub fn all(&mut self, parts: impl IntoIterator<Item = Lit>) -> Lit {
        let mut parts: Vec<Lit> = parts.into_iter().filter(|part| *part != self.yes).collect();
        parts.sort_unstable();
        parts.dedup();
        // The two signs of a variable are neighbours in the order.
        let contradicts = parts.windows(2).any(|pair| matches!(pair, [a, b] if *a == !*b));
        if contradicts || parts.contains(&!self.yes) {
            return !self.yes;
        }
        match parts.as_slice() {
            [] => return self.yes,
            [only] => return *only,
            _ => {}
        }
        let key = parts.into_boxed_slice();
        if let Some(gate) = self.gates.get(&key) {
            return *gate;
        }
        let gate = self.input();
        let mut back = vec![gate];
        for part in &key {
            self.solver.add_clause_reuse(&mut vec![!gate, *part]);
            back.push(!*part);
        }
        self.solver.add_clause_reuse(&mut back);
        self.gates.insert(key, gate);
        gate
    }

    pub fn any(&mut self, parts: impl IntoIterator<Item = Lit>) -> Lit {
        !self.all(parts.into_iter().map(|part| !part))
    }

    pub fn both(&mut self, one: Lit, other: Lit) -> Lit {
        self.all([one, other])
    }

    /// Whether two have the same value.
    pub fn same(&mut self, one: Lit, other: Lit) -> Lit {
        let forth = self.any([!one, other]);
        let back = self.any([one, !other]);
        self.both(forth, back)
    }

    pub fn choose(&mut self, condition: Lit, then: Lit, otherwise: Lit) -> Lit {
        let then = self.any([!condition, then]);
        let otherwise = self.any([condition, otherwise]);
        self.both(then, otherwise)
    }

    /// From now on one of them holds.
    pub fn demand_any(&mut self, lits: &[Lit]) {
        self.solver.add_clause_reuse(&mut lits.to_vec());
    }

    /// From now on no two of them hold.
    pub fn demand_at_most_one(&mut self, lits: &[Lit]) {
        for (n, one) in lits.iter().enumerate() {
            for other in lits.iter().skip(n + 1) {
                self.solver.add_clause_reuse(&mut vec![!*one, !*other]);
            }
        }
    }

    /// Values under which all of `assumed` holds; `None` when there are none.
    pub fn solve(&mut self, assumed: &[Lit]) -> Option<Model> {
        // Without a budget the solver always comes to an answer.
        let found = self.solver.solve_limited(assumed) == lbool::TRUE;
        found.then(|| Model(self.solver.get_model().to_vec()))
    }

    /// Of what the last call to [`Circuit::solve`] assumed in vain, a part that is enough for that.
    pub fn conflict(&self) -> Vec<Lit> {
        // The solver tells the negations.
        self.solver.unsat_core().iter().map(|lit| !*lit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_what_they_are_called_for_every_value() {
        let mut circuit = Circuit::new();
        let (a, b, c) = (circuit.input(), circuit.input(), circuit.input());
        let all = circuit.all([a, b, c]);
        let any = circuit.any([a, b, c]);
        let same = circuit.same(a, b);
        let chosen = circuit.choose(a, b, c);
        for bits in 0..8_u8 {
            let value = |bit: u8| bits >> bit & 1 == 1;
            let given = [a.apply_sign(value(0)), b.apply_sign(value(1)), c.apply_sign(value(2))];
            let model = circuit.solve(&given).unwrap();
            assert_eq!(model.is(all), bits == 7);
            assert_eq!(model.is(any), bits != 0);
            assert_eq!(model.is(same), value(0) == value(1));
            assert_eq!(model.is(chosen), if value(0) { value(1) } else { value(2) });
        }
    }

    #[test]
    fn constants_fold_and_equal_gates_are_one() {
        let mut circuit = Circuit::new();
        let (a, b) = (circuit.input(), circuit.input());
        let (yes, no) = (circuit.constant(true), circuit.constant(false));
        assert_eq!(circuit.all([a, yes]), a);
        assert_eq!(circuit.all([a, no]), no);
        assert_eq!(circuit.all([a, !a]), no);
        assert_eq!(circuit.any([]), no);
        assert_eq!(circuit.all([a, b]), circuit.all([b, a, b]));
    }

    #[test]
    fn a_conflict_names_assumptions_that_cannot_hold_together() {
        let mut circuit = Circuit::new();
        let lits = circuit.inputs(4);
        circuit.demand_at_most_one(&lits[..2]);
        assert!(circuit.solve(&lits).is_none());
        let mut conflict = circuit.conflict();
        conflict.sort_unstable();
        assert_eq!(conflict, lits[..2]);
        assert!(circuit.solve(&lits[1..]).is_some());
    }
}
