//! Finding repositories.

use super::*;
use pretty_assertions::assert_eq;

#[test]
fn a_repository_is_found_from_a_folder_below_its_root() {
    let fixture = Fixture::new();
    fixture.write("a b/ü/x", "1");
    fixture.commit_all();
    let repository = Repository::discover(&fixture.root.join("a b/ü")).unwrap();
    assert_eq!(repository.root(), fixture.root);
    assert_eq!(repository.prefix(), "a b/ü");
    assert_eq!(repository.git_dir(), fixture.root.join(".git"));
    assert_eq!(repository.common_dir(), fixture.root.join(".git"));
    assert_eq!(repository.object_format(), "sha1");
    assert_eq!(repository.head().branch.as_deref(), Some("refs/heads/main"));
    assert_eq!(repository.head().commit, fixture.git(&["rev-parse", "HEAD"]));
    fixture.git(&["checkout", "-q", "--detach"]);
    assert_eq!(repository.head_now().unwrap().branch, None);
}

#[test]
fn each_reason_against_a_folder_has_its_own_error() {
    let plain = tempfile::tempdir().unwrap();
    let found = Repository::discover(plain.path()).unwrap_err();
    assert!(matches!(found, DiscoverError::NotARepository { .. }), "{found}");
    let fixture = Fixture::new();
    let found = Repository::discover(&fixture.root).unwrap_err();
    assert!(matches!(found, DiscoverError::NoCommit), "{found}");
    let found = Repository::discover(&fixture.root.join(".git")).unwrap_err();
    assert!(matches!(found, DiscoverError::InsideGitDirectory), "{found}");
    git_in(plain.path(), &["init", "-q", "--bare"]);
    let found = Repository::discover(plain.path()).unwrap_err();
    assert!(matches!(found, DiscoverError::Bare), "{found}");
    assert!(!found.hint().is_empty());
}

#[test]
fn the_private_git_directory_goes_with_the_repository() {
    let fixture = Fixture::new();
    fixture.write("a", "1\n");
    fixture.commit_all();
    let repository = fixture.repository();
    let private = repository.private_dir().to_owned();
    let workspace = Workspace::of_user(&repository).unwrap();
    drop(repository);
    assert!(private.exists(), "the workspace still needs it");
    drop(workspace);
    assert!(!private.exists());
}
