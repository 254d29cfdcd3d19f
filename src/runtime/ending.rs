//! The end of a loop: the result into the user's work tree where that is wanted and harmless, and everything of ours
//! out of the way.

use super::{Place, Runtime};
use crate::engine::event::{Event, PlaceKind};
use crate::engine::{StopReason, TreeAnswer};
use crate::plan::Land;
use crate::workspace::{Landed, land, undo};

impl Runtime<'_> {
    /// Lands the result, or says why not. In place, everything but a landed result is put back.
    pub(super) fn land(&mut self) -> anyhow::Result<()> {
        let reason = self.state.stop.as_ref().and_then(|stop| stop.reason);
        let met = matches!(reason, Some(StopReason::GoalMet | StopReason::AlreadyMet));
        let seed = self.state.users_tree().to_owned();
        let head = self.state.head_tree.clone();
        let in_place = self.state.baseline.as_ref().is_some_and(|baseline| baseline.place.kind == PlaceKind::InPlace);
        let wanted = met && self.state.has_changes() && self.state.plan.limits.land == Land::Auto;
        if in_place {
            return self.end_in_place(reason, &seed, &head, wanted);
        }
        let (landed, why) = if wanted {
            self.emit(Event::LandingStarted { from: seed.clone(), to: head.clone() })?;
            match land(&self.user, &seed, &head)? {
                Landed::Written(_) => (true, "uncommitted, as you would have edited it".to_owned()),
                Landed::TreeChanged(paths) => {
                    (false, format!("your work tree changed meanwhile ({}); nothing was written", name_some(&paths)))
                }
            }
        } else {
            (false, self.why_not(met).to_owned())
        };
        self.emit(Event::LandingFinished { landed, reason: why })
    }

    fn why_not(&self, met: bool) -> &'static str {
        if !self.state.has_changes() {
            "nothing was changed"
        } else if !met {
            "only a proven result is written; the best state is kept"
        } else {
            "--land never; the result is kept"
        }
    }

    fn end_in_place(&mut self, reason: Option<StopReason>, seed: &str, head: &str, wanted: bool) -> anyhow::Result<()> {
        if reason == Some(StopReason::TreeChanged) {
            return self.emit(Event::LandingFinished {
                landed: false,
                reason: "your work tree is left as it was found, both versions are kept".into(),
            });
        }
        let met = matches!(reason, Some(StopReason::GoalMet | StopReason::AlreadyMet));
        let opened = self.open_place().and_then(|()| self.expect_tree(head));
        if let Err(error) = opened {
            let kept = self.keep_copy(&self.user, "found")?;
            return self.emit(Event::LandingFinished {
                landed: false,
                reason: format!("{error}; it is left as it was found and kept as {kept}"),
            });
        }
        if wanted {
            return self.emit(Event::LandingFinished {
                landed: true,
                reason: "uncommitted, as you would have edited it".into(),
            });
        }
        self.emit(Event::LandingStarted { from: head.to_owned(), to: seed.to_owned() })?;
        let reason = match undo(&self.user, seed, head)? {
            Landed::Written(_) => self.why_not(met).to_owned(),
            Landed::TreeChanged(paths) => {
                format!("your work tree changed meanwhile ({}); it was left alone", name_some(&paths))
            }
        };
        self.emit(Event::LandingFinished { landed: false, reason })
    }

    /// Takes the user's answer to a work tree that changed under an in-place loop.
    ///
    /// Returns an error if the disk or git refuses.
    pub fn answer_changed_tree(&mut self, answer: TreeAnswer) -> anyhow::Result<()> {
        self.keep_copy(&self.user, "found")?;
        let head = self.state.head_tree.clone();
        let found = self.user.snapshot_on(&head)?;
        match answer {
            TreeAnswer::Discard => {
                self.place = Some(Place::InPlace);
                self.move_tree(&found, &head)
            }
            TreeAnswer::Adopt => {
                // The user's own version is what they had at the start with the edits they made since.
                let own = self.state.users_tree().to_owned();
                let own_tree = self.repository.merge_trees(&head, &own, &found)?.unwrap_or_else(|| found.clone());
                let started = self.state.started.clone();
                let message = super::ref_message(&started, "The work tree with the user's own edits, adopted.");
                let commit = self.repository.commit(&found, &[&self.state.head_commit], &message)?;
                let number = self.state.trees.len();
                let reference = crate::workspace::kept_ref(&started.run_id, &format!("adopted-{number}"));
                self.repository.set_ref(&reference, &commit, crate::workspace::ExpectedRef::Any)?;
                self.place = Some(Place::InPlace);
                let commands = self.baseline_commands();
                let Some(receipts) = self.check_all(&commands, &found, "adopted")? else { return Ok(()) };
                self.emit(Event::Adopted { tree: found, commit, own_tree, receipts })
            }
        }
    }

    /// Removes what is ours and ends.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.remove_worktrees()?;
        let resumable = self.state.stop.as_ref().and_then(|stop| stop.reason).is_none_or(StopReason::resumable);
        if !resumable {
            self.forget_candidates()?;
        }
        self.emit(Event::Finished)
    }

    /// Removes the run's work trees.
    pub(super) fn remove_worktrees(&mut self) -> anyhow::Result<()> {
        for own in self.repository.own_worktrees()? {
            if own.belongs_to(&self.state.started.run_id) {
                own.remove(&self.repository)?;
            }
        }
        self.place = None;
        self.pool.clear();
        Ok(())
    }
}

fn name_some(paths: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = paths.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if paths.len() > SHOWN { format!("{shown} and {} more", paths.len() - SHOWN) } else { shown }
}
