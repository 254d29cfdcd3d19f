//! A small tokeniser for many languages: enough to tell code from comments and strings.
//!
//! It never fails: text it does not understand becomes words and punctuation. It never judges anything.

/// A family of languages that share comments, strings and the shape of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lang {
    Python,
    Js,
    Rust,
    Go,
    /// Java, Kotlin, Scala, Groovy, Swift, Dart.
    Java,
    CSharp,
    C,
    Ruby,
    Php,
    Shell,
    Elixir,
    Perl,
    /// Data or configuration with `#` comments.
    Hash,
    /// Anything else: no comments, no strings.
    Plain,
}

impl Lang {
    /// Returns the language of a file by its name, and by its first line where the name says nothing.
    pub(crate) fn of(path: &str, content: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path);
        let ext = name.rsplit_once('.').map_or("", |(_, ext)| ext).to_ascii_lowercase();
        match ext.as_str() {
            "py" | "pyi" | "pyw" | "pyx" => Self::Python,
            "js" | "mjs" | "cjs" | "jsx" | "ts" | "mts" | "cts" | "tsx" | "vue" | "svelte" => Self::Js,
            "rs" => Self::Rust,
            "go" => Self::Go,
            "java" | "kt" | "kts" | "scala" | "groovy" | "gradle" | "swift" | "dart" => Self::Java,
            "cs" | "fs" => Self::CSharp,
            "c" | "h" | "cc" | "cpp" | "cxx" | "hpp" | "hh" | "m" | "mm" | "zig" => Self::C,
            "rb" | "rake" | "gemspec" => Self::Ruby,
            "php" => Self::Php,
            "sh" | "bash" | "zsh" | "bats" | "ksh" => Self::Shell,
            "ex" | "exs" => Self::Elixir,
            "pl" | "pm" => Self::Perl,
            // The Test Anything Protocol is spoken by scripts of any language, Perl by default.
            "t" => match Self::by_shebang(content) {
                Self::Plain => Self::Perl,
                lang => lang,
            },
            "toml" | "yml" | "yaml" | "cfg" | "ini" | "conf" | "mk" | "properties" | "env" => Self::Hash,
            _ if matches!(
                name,
                "Makefile" | "makefile" | "GNUmakefile" | "Dockerfile" | "justfile" | "Justfile" | ".justfile"
            ) =>
            {
                Self::Hash
            }
            _ if matches!(name, "Rakefile" | "Gemfile" | "Guardfile") => Self::Ruby,
            _ => Self::by_shebang(content),
        }
    }

    fn by_shebang(content: &str) -> Self {
        let first = content.lines().next().unwrap_or_default();
        if !first.starts_with("#!") {
            return Self::Plain;
        }
        for (word, lang) in [
            ("python", Self::Python),
            ("node", Self::Js),
            ("deno", Self::Js),
            ("bun", Self::Js),
            ("ruby", Self::Ruby),
            ("php", Self::Php),
            ("elixir", Self::Elixir),
            ("perl", Self::Perl),
            ("prove", Self::Perl),
            ("sh", Self::Shell),
        ] {
            if first.contains(word) {
                return lang;
            }
        }
        Self::Plain
    }

    /// Says whether files of this language hold program code.
    pub(crate) fn is_code(self) -> bool {
        !matches!(self, Self::Hash | Self::Plain)
    }

    fn hash_comments(self) -> bool {
        matches!(self, Self::Python | Self::Ruby | Self::Php | Self::Shell | Self::Elixir | Self::Perl | Self::Hash)
    }

    fn slash_comments(self) -> bool {
        matches!(self, Self::Js | Self::Rust | Self::Go | Self::Java | Self::CSharp | Self::C | Self::Php)
    }

    fn regex_literals(self) -> bool {
        matches!(self, Self::Js | Self::Ruby)
    }

    /// Says whether a plain quoted string may run over line ends.
    fn long_strings(self) -> bool {
        matches!(self, Self::Rust | Self::Ruby | Self::Php | Self::Shell | Self::Elixir | Self::Perl)
    }
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Number,
    Str,
    Punct,
}

/// One token of code; comments and Python docstrings leave none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    /// The slice of the source, quotes and prefixes included.
    pub(crate) text: &'a str,
    /// Line it starts on, counted from 1.
    pub(crate) line: u32,
    /// Byte column it starts at, counted from 0.
    pub(crate) col: u32,
    /// Byte offset in the source.
    pub(crate) at: usize,
}

impl<'a> Token<'a> {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.kind != Kind::Str && self.text == text
    }

    pub(crate) fn is_word(&self) -> bool {
        self.kind == Kind::Word
    }

    pub(crate) fn is_str(&self) -> bool {
        self.kind == Kind::Str
    }

    /// Returns what stands between the quotes of a string, or the token's text.
    pub(crate) fn value(&self) -> &'a str {
        if self.kind != Kind::Str {
            return self.text;
        }
        let quotes = ['"', '\'', '`', '/'];
        let text = self.text.trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '#' | '@' | '$'));
        text.trim_end_matches('#').trim_matches(quotes)
    }
}

const OPERATORS: [&str; 34] = [
    "===", "!==", "**=", "...", "<=>", ">>>", "??=", "&&=", "||=", "==", "!=", "=>", "->", "::", "&&", "||", "<=",
    ">=", ":=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "??", "?.", "**", "++", "--", "=~", "!~",
];

/// Returns the tokens of `text`, comments left out.
pub(crate) fn tokens(lang: Lang, text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { lang, text, at: 0, line: 1, line_start: 0, out: Vec::new(), heredocs: Vec::new() };
    lexer.run();
    let mut out = lexer.out;
    if lang == Lang::Python {
        drop_docstrings(&mut out);
    }
    out
}

/// Leaves out strings that stand alone as a statement: they are documentation, whatever they contain.
fn drop_docstrings(tokens: &mut Vec<Token<'_>>) {
    let mut depth = 0i32;
    let mut keep = vec![true; tokens.len()];
    for (index, token) in tokens.iter().enumerate() {
        if token.kind == Kind::Punct {
            match token.text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
        }
        let first = index == 0 || tokens[index - 1].line + newlines(tokens[index - 1].text) < token.line;
        let last = tokens.get(index + 1).is_none_or(|next| next.line > token.line + newlines(token.text));
        if token.is_str() && first && last && depth <= 0 {
            keep[index] = false;
        }
    }
    let mut index = 0;
    tokens.retain(|_| {
        index += 1;
        keep[index - 1]
    });
}

fn newlines(text: &str) -> u32 {
    text.bytes().filter(|byte| *byte == b'\n').count() as u32
}

struct Lexer<'a> {
    lang: Lang,
    text: &'a str,
    at: usize,
    line: u32,
    line_start: usize,
    out: Vec<Token<'a>>,
    /// Ends of here-documents that start after this line.
    heredocs: Vec<&'a str>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Moves on by `len` bytes, counting lines.
    fn skip(&mut self, len: usize) {
        let end = (self.at + len).min(self.text.len());
        for (offset, byte) in self.text.as_bytes()[self.at..end].iter().enumerate() {
            if *byte == b'\n' {
                self.line += 1;
                self.line_start = self.at + offset + 1;
            }
        }
        self.at = end;
    }

    fn push(&mut self, kind: Kind, len: usize) {
        let end = (self.at + len).min(self.text.len());
        let token = Token {
            kind,
            text: &self.text[self.at..end],
            line: self.line,
            col: (self.at - self.line_start) as u32,
            at: self.at,
        };
        self.out.push(token);
        self.skip(end - self.at);
    }

    fn run(&mut self) {
        while let Some(next) = self.rest().chars().next() {
            if next == '\n' {
                self.skip(1);
                self.heredoc_bodies();
            } else if next.is_whitespace() || next == '\u{feff}' {
                self.skip(next.len_utf8());
            } else if let Some(len) = self.comment() {
                self.skip(len);
            } else if let Some(len) = self.string() {
                self.push(Kind::Str, len);
            } else if next.is_ascii_digit() {
                let len = self.number();
                self.push(Kind::Number, len);
            } else if next.is_alphabetic() || matches!(next, '_' | '$' | '@') && self.word(next) > 0 {
                let len = self.word(next);
                self.push(Kind::Word, len.max(next.len_utf8()));
            } else {
                let rest = self.rest();
                let len = OPERATORS.iter().find(|op| rest.starts_with(**op)).map_or(next.len_utf8(), |op| op.len());
                self.push(Kind::Punct, len);
            }
        }
    }

    fn word(&self, first: char) -> usize {
        let rest = self.rest();
        if first == '@' {
            return 0;
        }
        if first == '$' && !matches!(self.lang, Lang::Js | Lang::Php | Lang::Shell | Lang::Ruby | Lang::Perl) {
            return 0;
        }
        let head = first.len_utf8();
        let len = head
            + rest[head..]
                .find(|c: char| !(c.is_alphanumeric() || c == '_' || (c == '$' && self.lang == Lang::Js)))
                .unwrap_or(rest.len() - head);
        // `exit!` and `nil?` are names in Ruby and Elixir; `a != b` is not.
        if matches!(self.lang, Lang::Ruby | Lang::Elixir)
            && rest[len..].starts_with(['!', '?'])
            && !rest[len + 1..].starts_with('=')
        {
            return len + 1;
        }
        len
    }

    fn number(&self) -> usize {
        let bytes = self.rest().as_bytes();
        let mut len = 0;
        while len < bytes.len() {
            let byte = bytes[len];
            let dot = byte == b'.' && bytes.get(len + 1).is_some_and(u8::is_ascii_digit);
            if byte.is_ascii_alphanumeric() || byte == b'_' || dot {
                len += 1;
            } else {
                break;
            }
        }
        len
    }

    fn to_line_end(&self) -> usize {
        self.rest().find('\n').unwrap_or(self.rest().len())
    }

    fn comment(&self) -> Option<usize> {
        let rest = self.rest();
        let blank_before = self.at == 0 || self.text.as_bytes()[self.at - 1].is_ascii_whitespace();
        if rest.starts_with('#') && self.lang.hash_comments() {
            let comment = match self.lang {
                Lang::Shell | Lang::Hash | Lang::Perl => blank_before,
                Lang::Php => !rest.starts_with("#["),
                _ => true,
            };
            if comment {
                return Some(self.to_line_end());
            }
        }
        if self.at == 0 && rest.starts_with("#!") && !rest.starts_with("#![") {
            return Some(self.to_line_end());
        }
        if self.lang.slash_comments() {
            if rest.starts_with("//") {
                return Some(self.to_line_end());
            }
            if rest.starts_with("/*") {
                return Some(block_comment(rest, self.lang == Lang::Rust));
            }
        }
        if self.lang == Lang::Ruby && rest.starts_with("=begin") && self.at == self.line_start {
            return Some(rest.find("\n=end").map_or(rest.len(), |end| end + "\n=end".len()));
        }
        if self.lang == Lang::Perl && self.at == self.line_start {
            // Documentation between `=word` and `=cut`, and what stands behind the end of the program.
            if rest.starts_with('=') && rest[1..].starts_with(|c: char| c.is_ascii_alphabetic()) {
                return Some(rest.find("\n=cut").map_or(rest.len(), |end| end + "\n=cut".len()));
            }
            if rest.starts_with("__END__") {
                return Some(rest.len());
            }
        }
        if rest.starts_with("<!--") && !self.lang.is_code() {
            return Some(rest.find("-->").map_or(rest.len(), |end| end + 3));
        }
        None
    }

    fn string(&mut self) -> Option<usize> {
        let rest = self.rest();
        match self.lang {
            Lang::Python => return python_string(rest),
            Lang::Rust => return rust_string(rest),
            Lang::Plain => return rest.starts_with('"').then(|| quoted(rest, '"', false)).filter(|len| *len > 1),
            _ => {}
        }
        if matches!(self.lang, Lang::Ruby | Lang::Shell | Lang::Php | Lang::Perl)
            && let Some(len) = self.heredoc_start()
        {
            return Some(len);
        }
        for fence in ["\"\"\"", "'''"] {
            if rest.starts_with(fence) && matches!(self.lang, Lang::Java | Lang::CSharp | Lang::Elixir) {
                return Some(rest[3..].find(fence).map_or(rest.len(), |end| end + 6));
            }
        }
        if self.lang == Lang::CSharp && (rest.starts_with("@\"") || rest.starts_with("$@\"")) {
            let start = rest.find('"').unwrap_or(0) + 1;
            return Some(verbatim(rest, start));
        }
        let first = rest.chars().next()?;
        match first {
            '"' => Some(quoted(rest, '"', self.lang.long_strings())),
            '\'' => Some(quoted(rest, '\'', self.lang.long_strings())),
            '`' if self.lang == Lang::Js => Some(template(rest)),
            '`' if matches!(self.lang, Lang::Go | Lang::Java | Lang::Ruby) => {
                Some(rest[1..].find('`').map_or(rest.len(), |end| end + 2))
            }
            '/' if self.lang.regex_literals() && self.value_expected() => regex_literal(rest),
            _ => None,
        }
    }

    /// Says whether a `/` here would start a regular expression rather than divide.
    fn value_expected(&self) -> bool {
        let Some(last) = self.out.last() else { return true };
        match last.kind {
            Kind::Number | Kind::Str => false,
            Kind::Punct => !matches!(last.text, ")" | "]" | "}" | "++" | "--"),
            Kind::Word => matches!(
                last.text,
                "return"
                    | "typeof"
                    | "case"
                    | "in"
                    | "of"
                    | "delete"
                    | "void"
                    | "throw"
                    | "new"
                    | "else"
                    | "do"
                    | "if"
                    | "unless"
                    | "when"
                    | "and"
                    | "or"
                    | "not"
                    | "yield"
                    | "await"
            ),
        }
    }

    fn heredoc_start(&mut self) -> Option<usize> {
        let rest = self.rest();
        let body = rest.strip_prefix("<<")?;
        let mut skipped = 2;
        let mut tail = body;
        for mark in ["<", "~", "-"] {
            if let Some(next) = tail.strip_prefix(mark) {
                tail = next;
                skipped += mark.len();
            }
        }
        let quote = tail.chars().next().filter(|c| matches!(c, '"' | '\''));
        if quote.is_some() {
            tail = &tail[1..];
            skipped += 1;
        }
        let len = tail.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(tail.len());
        let name = &tail[..len];
        if name.is_empty() || !name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_') {
            return None;
        }
        self.heredocs.push(name);
        Some(skipped + len + usize::from(quote.is_some()))
    }

    /// At the start of a line: takes the bodies of here-documents as strings.
    fn heredoc_bodies(&mut self) {
        for name in std::mem::take(&mut self.heredocs) {
            let rest = self.rest();
            let mut len = 0;
            for line in rest.split_inclusive('\n') {
                if line.trim().trim_end_matches([';', ',', ')']) == name {
                    break;
                }
                len += line.len();
            }
            if len > 0 {
                self.push(Kind::Str, len);
            }
            let line = self.to_line_end();
            let close = self.rest()[..line].find(name).map_or(0, |start| start + name.len());
            self.skip(close);
        }
    }
}

fn block_comment(rest: &str, nested: bool) -> usize {
    let bytes = rest.as_bytes();
    let mut depth = 0usize;
    let mut at = 0;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" if nested || depth == 0 => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

/// Returns the length of a quoted string with backslash escapes; it ends with its line unless `long`.
fn quoted(rest: &str, quote: char, long: bool) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        } else if c == '\n' && !long {
            return at;
        }
    }
    rest.len()
}

fn verbatim(rest: &str, start: usize) -> usize {
    let bytes = rest.as_bytes();
    let mut at = start;
    while at < bytes.len() {
        if bytes[at] == b'"' {
            if bytes.get(at + 1) != Some(&b'"') {
                return at + 1;
            }
            at += 1;
        }
        at += 1;
    }
    rest.len()
}

fn template(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut depth = 0usize;
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'$' if bytes.get(at + 1) == Some(&b'{') => {
                depth += 1;
                at += 1;
            }
            b'{' if depth > 0 => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b'`' if depth == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    rest.len()
}

fn regex_literal(rest: &str) -> Option<usize> {
    let mut class = false;
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
            continue;
        }
        match c {
            '\\' => escaped = true,
            '[' => class = true,
            ']' => class = false,
            '\n' => return None,
            '/' if !class => {
                let flags = rest[at + 1..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len() - at - 1);
                return Some(at + 1 + flags);
            }
            _ => {}
        }
    }
    None
}

fn python_string(rest: &str) -> Option<usize> {
    let prefix = rest.bytes().take(4).position(|byte| matches!(byte, b'"' | b'\''))?;
    if !rest[..prefix].chars().all(|c| "rRbBuUfFtT".contains(c)) {
        return None;
    }
    let body = &rest[prefix..];
    for fence in ["\"\"\"", "'''"] {
        if body.starts_with(fence) {
            let mut at = 3;
            let bytes = body.as_bytes();
            while at < bytes.len() {
                if bytes[at] == b'\\' {
                    at += 2;
                } else if bytes[at..].starts_with(fence.as_bytes()) {
                    return Some(prefix + at + 3);
                } else {
                    at += 1;
                }
            }
            return Some(rest.len());
        }
    }
    let quote = body.chars().next()?;
    Some(prefix + quoted(body, quote, false))
}

fn rust_string(rest: &str) -> Option<usize> {
    let prefix = rest.bytes().take(3).position(|byte| matches!(byte, b'"' | b'\'' | b'#'))?;
    if !matches!(&rest[..prefix], "" | "b" | "r" | "c" | "br" | "cr") {
        return None;
    }
    let body = &rest[prefix..];
    if rest[..prefix].ends_with('r') {
        let hashes = body.len() - body.trim_start_matches('#').len();
        if !body[hashes..].starts_with('"') {
            return None;
        }
        let close = format!("\"{}", "#".repeat(hashes));
        let start = hashes + 1;
        return Some(prefix + body[start..].find(&close).map_or(body.len(), |end| start + end + close.len()));
    }
    if body.starts_with('"') {
        return Some(prefix + quoted(body, '"', true));
    }
    if !body.starts_with('\'') {
        return None;
    }
    // A lifetime has no closing quote after one character.
    let mut chars = body.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        return Some(prefix + quoted(body, '\'', false));
    }
    let (end, close) = chars.next()?;
    (close == '\'').then_some(prefix + end + 1)
}

/// Returns the positions at which `pattern` (tokens between blanks, `*` for any one) stands in `tokens`.
pub(crate) fn find(tokens: &[Token<'_>], pattern: &str) -> Vec<usize> {
    let parts: Vec<&str> = pattern.split(' ').collect();
    (0..tokens.len()).filter(|at| starts_with(&tokens[*at..], &parts)).collect()
}

fn starts_with(tokens: &[Token<'_>], parts: &[&str]) -> bool {
    tokens.len() >= parts.len() && parts.iter().zip(tokens).all(|(part, token)| *part == "*" || token.is(part))
}

/// Returns the position after the bracket that closes the one at `open`, or the end.
pub(crate) fn close_of(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0i32;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if token.kind == Kind::Punct {
            match token.text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => {
                    depth -= 1;
                    if depth <= 0 {
                        return index + 1;
                    }
                }
                _ => {}
            }
        }
    }
    tokens.len()
}

/// Returns the innermost bracket open before `at`.
pub(crate) fn innermost(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let mut depth = 0;
    (0..at).rev().find(|index| {
        if tokens[*index].kind != Kind::Punct {
            return false;
        }
        match tokens[*index].text {
            ")" | "]" | "}" => depth += 1,
            "(" | "[" | "{" if depth == 0 => return true,
            "(" | "[" | "{" => depth -= 1,
            _ => {}
        }
        false
    })
}

/// Returns the code line by line: normalised text and line number, lines without code left out.
pub(crate) fn lines(tokens: &[Token<'_>]) -> Vec<(String, u32)> {
    let mut out: Vec<(String, u32)> = Vec::new();
    for token in tokens {
        match out.last_mut() {
            Some((text, line)) if *line == token.line => {
                text.push(' ');
                text.push_str(token.text);
            }
            _ => out.push((token.text.to_string(), token.line)),
        }
    }
    out
}

/// Returns the tokens as one normalised text.
pub(crate) fn join(tokens: &[Token<'_>]) -> String {
    let mut out = String::new();
    for token in tokens {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(token.text);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(lang: Lang, text: &str) -> String {
        join(&tokens(lang, text))
    }

    #[test]
    fn comments_leave_no_token() {
        assert_eq!(words(Lang::Python, "a = 1  # skip\n"), "a = 1");
        assert_eq!(words(Lang::Js, "a(); // skip\n/* xfail */ b();"), "a ( ) ; b ( ) ;");
        assert_eq!(words(Lang::Rust, "/* a /* b */ c */ fn x() {}"), "fn x ( ) { }");
        assert_eq!(words(Lang::Ruby, "=begin\nskip\n=end\nputs 1"), "puts 1");
        assert_eq!(words(Lang::Shell, "echo $#x # no\n"), "echo $ # x");
        assert_eq!(words(Lang::Php, "#[Test]\n# no\n$a = 1;"), "# [ Test ] $a = 1 ;");
    }

    #[test]
    fn strings_are_one_token_each() {
        assert_eq!(tokens(Lang::Js, "a(`x ${b(`y`)} z`)").len(), 4);
        assert_eq!(tokens(Lang::Js, "x.replace(/[/\"]/g, 1)")[4].kind, Kind::Str);
        assert_eq!(tokens(Lang::Js, "a / b / c").len(), 5);
        assert_eq!(tokens(Lang::Rust, "f::<'a>('x', '\\'', r#\"a \" b\"#)").iter().filter(|t| t.is_str()).count(), 3);
        assert_eq!(tokens(Lang::Go, "s := `a\nb`\nt := 1")[3].line, 3);
        assert_eq!(tokens(Lang::Ruby, "a = <<~TXT\n  exit!\nTXT\nb = 1\n").iter().filter(|t| t.is("exit!")).count(), 0);
    }

    #[test]
    fn docstrings_are_documentation() {
        assert_eq!(
            words(Lang::Python, "def f():\n    \"\"\"pytest.skip(\n    \"\"\"\n    return \"a\"\n"),
            "def f ( ) : return \"a\""
        );
    }

    proptest! {
        #[test]
        fn any_text_is_taken_in_any_language(text in "[-a-z0-9'\"`/*#(){}\\[\\]<>~!\\\\\n =$@é]{0,120}", pick in 0usize..13) {
            let lang = [Lang::Python, Lang::Js, Lang::Rust, Lang::Go, Lang::Java, Lang::CSharp, Lang::C, Lang::Ruby,
                Lang::Php, Lang::Shell, Lang::Elixir, Lang::Hash, Lang::Plain][pick];
            let found = tokens(lang, &text);
            for pair in found.windows(2) {
                prop_assert!(pair[0].at + pair[0].text.len() <= pair[1].at);
            }
        }
    }
}
