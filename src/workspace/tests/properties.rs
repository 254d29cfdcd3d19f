//! Any tree to any other.

use super::*;

fn any_file() -> impl Strategy<Value = FileVersion> {
    let content =
        prop_oneof!["[ab\\n\\r]{0,12}".prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..12),];
    let mode = prop_oneof![Just(FileMode::Regular), Just(FileMode::Executable)];
    (mode, content).prop_map(|(mode, content)| FileVersion { mode, content })
}

fn any_tree() -> impl Strategy<Value = BTreeMap<String, FileVersion>> {
    let path = prop_oneof!["[abcd]", "d/[ab ]x", "e/f/[\"'\\\\\n-]z", "(e|e/f)", "[éß]"];
    proptest::collection::btree_map(path, any_file(), 0..6).prop_map(|mut files| {
        // A file cannot be a folder as well.
        let paths: Vec<String> = files.keys().cloned().collect();
        files.retain(|path, _| !paths.iter().any(|other| other.starts_with(&format!("{path}/"))));
        files
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// From any tree to any other and back, also from half-way: the diff, the change and the folder all agree.
    #[test]
    fn any_two_trees_are_reached_from_each_other(first in any_tree(), second in any_tree(), half in any::<u8>()) {
        let fixture = Fixture::new();
        fixture.git(&["commit", "-q", "--allow-empty", "-m", "empty"]);
        let repository = fixture.repository();
        let empty = repository.head().tree.clone();
        let as_change = |from: &BTreeMap<String, FileVersion>, to: &BTreeMap<String, FileVersion>| {
            let paths: std::collections::BTreeSet<&String> = from.keys().chain(to.keys()).collect();
            Change::new(paths.into_iter().map(|path| FileChange {
                path: path.clone(), old: from.get(path).cloned(), new: to.get(path).cloned(),
            }).collect())
        };
        let one = repository.write_change(&empty, &as_change(&BTreeMap::new(), &first)).unwrap();
        let step = as_change(&first, &second);
        let two = repository.write_change(&one, &step).unwrap();
        prop_assert_eq!(&repository.change_between(&one, &two).unwrap(), &step);
        let diff = repository.diff(&one, &two).unwrap();
        prop_assert_eq!(repository.apply_diff(&diff, &one).unwrap(), Ok(two.clone()));
        let tree = repository.tree(&two).unwrap();
        let memory = MemoryTree::new(second.clone());
        prop_assert_eq!(tree.paths(), memory.paths());
        let workspace = Workspace::of_user(&repository).unwrap();
        done(workspace.materialise(&empty, &one).unwrap());
        prop_assert_eq!(workspace.snapshot_on(&one).unwrap(), one.clone());
        // As a kill may leave it: some removals done, or all of them and some writes.
        let mut order: Vec<&FileChange> = step.files.iter().filter(|file| file.new.is_none()).collect();
        order.extend(step.files.iter().filter(|file| file.new.is_some()));
        order.truncate(usize::from(half) % (order.len() + 1));
        let part = Change::new(order.into_iter().cloned().collect());
        let part = repository.write_change(&one, &part).unwrap();
        done(workspace.materialise(&one, &part).unwrap());
        let states = workspace.landing_state(&one, &two).unwrap();
        prop_assert!(states.values().all(|state| *state != PathState::Other), "{:?}", states);
        if half % 2 == 0 {
            done(workspace.materialise(&two, &one).unwrap());
            prop_assert_eq!(workspace.changed_since(&one).unwrap(), []);
        }
        done(workspace.materialise(&one, &two).unwrap());
        for (path, file) in &second {
            prop_assert_eq!(&fixture.read(path), &file.content);
        }
        prop_assert_eq!(Workspace::of_user(&repository).unwrap().snapshot().unwrap(), two.clone());
        done(workspace.materialise(&two, &one).unwrap());
        prop_assert_eq!(workspace.changed_since(&one).unwrap(), []);
    }
}
