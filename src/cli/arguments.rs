//! The commands and their flags.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::options::{Options, Span};
use crate::plan::Money;
use crate::review::{DecisionKind, Kind, Stakes};

/// Drive the Codex CLI round a measured loop until the goal is proven
#[derive(Debug, Parser)]
#[command(name = "loop-companion", version, max_term_width = 100)]
pub struct Arguments {
    /// Work in this folder; checks run here
    #[arg(
        short = 'C',
        value_name = "DIR",
        global = true,
        default_value = ".",
        hide_default_value = true,
        display_order = 90
    )]
    pub dir: PathBuf,
    /// Print one JSON document
    #[arg(long, global = true, display_order = 91)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a loop towards a goal
    Start(Box<Start>),
    /// Show the loop of this work tree
    Status(Status),
    /// Show what the loop brought, and why each proposal lost
    Result(ResultArgs),
    /// Run more iterations
    Iterate(Iterate),
    /// Go on with a loop that stopped or died
    Resume(Resume),
    /// Wait until the loop ends; exits as the loop did
    Wait(Wait),
    /// Stop the loop of this work tree
    Stop(Stop),
    /// List the loops of this work tree
    History,
    /// Show figures over all loops: the judge's taste, the guards' work, the cost
    Stats,
    /// Remove old loops and their refs
    Prune(Prune),
    /// Show or set the model, from the next Codex call on
    Model(Model),
    /// Check that a loop could start here
    Preflight(Preflight),
    /// Propose check commands, with the evidence for each
    Detect,
    /// Ask Codex for a verdict on a decision: GO, NO-GO or MODIFY
    Review(Box<Review>),
    /// Serve the tools of this program over the Model Context Protocol, on standard input and output
    Mcp,
    /// Let the repository's .cloop.toml name commands, as it is now
    Trust(Trust),
    /// Watch a whole loop on a sample repository, without an account
    Demo(Demo),
    /// Answer a hook of Claude Code; always exits 0
    #[command(hide = true)]
    Hook(Hook),
    /// Serve a host's command files and monitors; always exits 0
    #[command(hide = true)]
    Host(Host),
}

/// Starts a loop.
#[derive(Debug, Args)]
pub struct Start {
    /// The goal, in words; --goal and --task-file stand in its place
    #[arg(value_name = "GOAL", conflicts_with_all = ["goal", "task_file", "args_stdin"])]
    pub words: Vec<String>,
    /// The goal as one text; `-` reads standard input
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["task_file"])]
    pub goal: Option<String>,
    /// File with the goal; `-` reads standard input
    #[arg(long, value_name = "PATH")]
    pub task_file: Option<String>,
    /// What must be true at the end, in words; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub accept: Vec<String>,
    /// Read goal, criteria and options as one JSON object from standard input
    #[arg(long, hide_short_help = true, conflicts_with_all = ["goal", "task_file"])]
    pub args_stdin: bool,
    /// Wait for the end (the default)
    #[arg(long, hide_short_help = true)]
    pub wait: bool,
    /// Run on its own and return as soon as the loop has begun
    #[arg(long, conflicts_with = "wait")]
    pub background: bool,
    /// Start without asking
    #[arg(long)]
    pub yes: bool,
    /// Start exactly the plan with this hash
    #[arg(long, value_name = "HASH", hide_short_help = true)]
    pub approved: Option<String>,
    /// Print the whole plan and its hash, and start nothing
    #[arg(long)]
    pub plan: bool,
    /// Make, guard and rank proposals, and apply nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub options: Options,
}

/// Shows the loop.
#[derive(Debug, Args)]
pub struct Status {
    /// Show it again whenever it changes, until the loop ends
    #[arg(long)]
    pub follow: bool,
}

/// Shows the result.
#[derive(Debug, Args)]
pub struct ResultArgs {
    /// Print the change as a patch that `git apply` takes on the tree the loop started from
    #[arg(long, conflicts_with_all = ["json", "apply", "branch"])]
    pub patch: bool,
    /// Write the result, uncommitted, into the work tree, merged with what was edited there meanwhile
    #[arg(long, conflicts_with = "branch")]
    pub apply: bool,
    /// Make a branch with one commit for each accepted iteration
    #[arg(long, value_name = "NAME", conflicts_with = "iteration")]
    pub branch: Option<String>,
    /// Only this iteration
    #[arg(long, value_name = "N")]
    pub iteration: Option<u32>,
}

/// Runs more iterations.
#[derive(Debug, Args)]
pub struct Iterate {
    /// How many
    #[arg(short = 'n', value_name = "N", default_value_t = 1, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub count: u32,
    /// Make, guard and rank proposals, and apply nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Waits for the end.
#[derive(Debug, Args)]
pub struct Wait {
    /// Wait at most this long, such as 90s or 10m, then exit 124
    #[arg(long, value_name = "D")]
    pub timeout: Option<Span>,
}

/// Stops a loop.
#[derive(Debug, Args)]
pub struct Stop {
    /// End the worker and all its processes if it does not stop by itself
    #[arg(long)]
    pub force: bool,
}

/// Removes old loops.
#[derive(Debug, Args)]
pub struct Prune {
    /// How many of the newest stay [default: 10]
    #[arg(long, value_name = "N")]
    pub keep: Option<u32>,
}

/// Goes on with a loop.
#[derive(Debug, Args)]
pub struct Resume {
    /// The new most iterations, the old one or more
    #[arg(long, value_name = "N")]
    pub max_iter: Option<u32>,
    /// The new most time, such as 90m or 2h
    #[arg(long, value_name = "D")]
    pub max_time: Option<Span>,
    /// The new most Codex calls
    #[arg(long, value_name = "N")]
    pub max_calls: Option<u32>,
    /// The new most tokens
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u64>,
    /// The new most money
    #[arg(long, value_name = "N")]
    pub max_cost: Option<Money>,
    /// Go on from your own edits, after the loop stopped for a changed work tree
    #[arg(long, conflicts_with = "discard")]
    pub adopt: bool,
    /// Go on from the loop's best state, after it stopped for a changed work tree; your edits stay in a ref
    #[arg(long)]
    pub discard: bool,
    /// Run on its own and return as soon as the loop goes on
    #[arg(long)]
    pub background: bool,
}

/// Shows or sets the model.
#[derive(Debug, Args)]
pub struct Model {
    /// Model; `spark` stands for gpt-5.3-codex-spark
    pub model: Option<String>,
    /// Reasoning effort
    pub effort: Option<String>,
}

/// Checks that a loop could start.
#[derive(Debug, Args)]
pub struct Preflight {
    /// Accept uncommitted changes
    #[arg(long)]
    pub allow_dirty: bool,
}

/// Asks for a review.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Review {
    #[command(subcommand)]
    pub command: Option<ReviewCommand>,
    /// What is asked, in words; `-` reads standard input
    #[arg(value_name = "PROMPT")]
    pub words: Vec<String>,
    /// What the review is about [default: by what is given; a prompt alone is sent as it is]
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<Kind>,
    /// Name of the record [default: the first words]
    #[arg(long, value_name = "T")]
    pub topic: Option<String>,
    /// The question
    #[arg(long, value_name = "Q")]
    pub question: Option<String>,
    /// An option to be put in order; may be given several times
    #[arg(long, value_name = "O")]
    pub option: Vec<String>,
    /// What is worrying
    #[arg(long, value_name = "C")]
    pub concern: Option<String>,
    /// What is proposed
    #[arg(long, value_name = "P")]
    pub proposed: Option<String>,
    /// A fact to know; may be given several times
    #[arg(long, value_name = "K=V")]
    pub context: Vec<String>,
    /// File to show, with line numbers; may be given several times
    #[arg(long, value_name = "P")]
    pub file: Vec<PathBuf>,
    /// Show what changed since BASE [default: HEAD]
    #[arg(long, value_name = "BASE", num_args = 0..=1, default_missing_value = "")]
    pub diff: Option<String>,
    /// File that is put in front of the question
    #[arg(long, value_name = "P", hide_short_help = true)]
    pub agent_file: Option<PathBuf>,
    /// Reasoning effort [default: high]
    #[arg(long, value_name = "E")]
    pub effort: Option<String>,
    /// Codex model
    #[arg(long, short = 'm', value_name = "M")]
    pub model: Option<String>,
    /// Longest wait [default: CODEX_TIMEOUT, or 300s]
    #[arg(long, value_name = "D")]
    pub timeout: Option<Span>,
    /// File that takes the verdict, for a reader; written only on an answer
    #[arg(long, short = 'o', value_name = "F")]
    pub output: Option<PathBuf>,
    /// File with variables for Codex, such as CODEX_API_KEY
    #[arg(long, value_name = "P", hide_short_help = true)]
    pub env_file: Option<PathBuf>,
    /// Ask even where the same was answered before
    #[arg(long)]
    pub fresh: bool,
    /// Most reviews a day and a session [default: 50 and 10]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub max_reviews: Option<u32>,
}

/// What there is about reviews besides asking for one.
#[derive(Debug, Subcommand)]
pub enum ReviewCommand {
    /// List the reviews held here
    List,
    /// Show a review again
    Show {
        /// Its name, or the beginning of it
        id: String,
    },
    /// Count reviews, verdicts, tokens and costs
    Stats,
    /// Say whether a decision is worth a review
    Policy(Policy),
    /// Switch the review of every turn's changes, or show the switch
    Gate {
        /// On or off
        switch: Option<Switch>,
    },
}

/// Says whether a review is due.
#[derive(Debug, Args)]
pub struct Policy {
    /// What the decision is about
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Kind,
    /// How sure you are, from 0 to 1
    #[arg(long, value_name = "C")]
    pub confidence: f64,
    /// What hangs on it
    #[arg(long, value_name = "S")]
    pub stakes: Stakes,
    /// How many options there are [default: unknown]
    #[arg(long, value_name = "N")]
    pub options: Option<u32>,
    /// What sort of decision it is, where that settles it
    #[arg(long, value_name = "D")]
    pub decision: Option<DecisionKind>,
}

/// A switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    On,
    Off,
}

/// Trusts the repository's configuration.
#[derive(Debug, Args)]
pub struct Trust {
    /// Take it back
    #[arg(long)]
    pub revoke: bool,
}

/// Plays a whole loop.
#[derive(Debug, Args)]
pub struct Demo {
    /// Empty or new folder for the sample repository [default: a new temporary folder]
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// Answers a hook.
#[derive(Debug, Args)]
pub struct Hook {
    /// The event, whose document is read from standard input
    pub event: HookEvent,
}

/// The events that are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum HookEvent {
    /// A slash command was typed
    Prompt,
    /// A session begins
    SessionStart,
    /// The user has written a prompt
    TurnStart,
    /// A turn of the host ended
    Stop,
    /// The readable state of a loop changed
    FileChanged,
}

/// Serves a host.
#[derive(Debug, Args)]
pub struct Host {
    #[command(subcommand)]
    pub service: HostService,
}

/// What a host asks for.
#[derive(Debug, Subcommand)]
pub enum HostService {
    /// Run a command, print its errors like its answer, and exit 0
    Show {
        /// The command and its flags
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        words: Vec<String>,
    },
    /// Run the review that was typed in a session and is kept under this id
    Typed { id: String },
    /// Print one line whenever a loop of this work tree ends or waits for the user
    Monitor,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_demo_takes_a_folder_of_its_own_and_not_the_one_to_work_in() {
        let folder = |arguments: &[&str]| match Arguments::try_parse_from(arguments).unwrap().command {
            Command::Demo(demo) => demo.folder,
            other => panic!("{other:?}"),
        };
        assert_eq!(folder(&["loop-companion", "demo"]), None);
        assert_eq!(folder(&["loop-companion", "-C", "x", "demo"]), None);
        assert_eq!(folder(&["loop-companion", "demo", "d"]), Some("d".into()));
    }

    #[test]
    fn the_short_help_of_start_shows_what_a_first_user_needs() {
        let mut command = Arguments::command();
        let start = command.find_subcommand_mut("start").unwrap();
        let short = start.render_help().to_string();
        let flags = short.lines().filter(|line| line.trim_start().starts_with('-')).count();
        assert!((10..=22).contains(&flags), "{flags} flags in:\n{short}");
        let long = start.render_long_help().to_string();
        for flag in ["--trial-cmd", "--max-calls", "--allow-change", "--codex-mcp"] {
            assert!(!short.contains(flag) && long.contains(flag), "{flag}");
        }
    }
}
