use super::*;

fn project(pairs: &[(&str, Value)]) -> Map {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn run(project: Map, overrides: &[&str]) -> Result<Map, VariableFault> {
    let overrides = Overrides::parse(overrides.iter().copied(), None).unwrap();
    interpolate(project, &overrides, &|_| None).map(|interpolated| interpolated.project)
}

fn vars(pairs: &[(&str, Value)]) -> (&'static str, Value) {
    ("vars", Value::Map(project(pairs)))
}

#[test]
fn a_variable_that_leads_back_to_itself_is_named() {
    let fault =
        run(project(&[vars(&[("a", text("${vars.b}")), ("b", text("x${vars.a}"))])]), &[]).unwrap_err();
    assert!(
        fault.variable.is_some_and(|name| name.starts_with("vars."))
            && fault.problem.contains("back to itself")
    );
}

#[test]
fn a_section_inside_of_itself_is_refused() {
    let fault = run(project(&[vars(&[("a", text("${vars}"))])]), &[]).unwrap_err();
    assert_eq!(fault.variable.as_deref(), Some("vars"));
    let crossed = [("a", text("${project.y}"))];
    let looped = project(&[
        ("x", Value::Map(project(&crossed))),
        ("y", Value::Map(project(&[("b", text("${project.x}"))]))),
    ]);
    assert!(run(looped, &[]).is_err());
}

#[test]
fn variables_that_double_do_not_fill_the_memory() {
    let mut of_vars = vec![("v0".to_owned(), text(&"x".repeat(1_000)))];
    for level in 1..10 {
        of_vars.push((format!("v{level}"), text(&format!("${{vars.v{}}}", level - 1).repeat(20))));
    }
    let map = of_vars.into_iter().collect();
    let fault = run(Map::from_iter([("vars".to_owned(), Value::Map(map))]), &[]).unwrap_err();
    assert!(fault.problem.contains("too large"), "{fault:?}");
}

#[test]
fn overrides_double_dollars_as_weasel_run_does() {
    let plain = project(&[("x", Value::List(vec![text("echo $HOME")])), vars(&[("a", text("1"))])]);
    let shown = |map: &Map| map["x"].to_json();
    assert_eq!(shown(&run(plain.clone(), &[]).unwrap()), "[\"echo $HOME\"]");
    assert_eq!(shown(&run(plain.clone(), &["--vars.a=2"]).unwrap()), "[\"echo $$HOME\"]");
    let fault = run(plain, &["--nowhere.a=2"]).unwrap_err();
    assert_eq!(fault.variable.as_deref(), Some("nowhere.a"));
}

#[test]
fn sections_that_double_do_not_fill_the_memory() {
    let mut sections = vec![("s0".to_owned(), Value::Map(project(&[("x", text("1"))])))];
    for level in 1..40 {
        let before = format!("${{project.s{}}}", level - 1);
        let twice = project(&[("x", text(&before)), ("y", text(&before))]);
        sections.push((format!("s{level}"), Value::Map(twice)));
    }
    let fault = run(sections.into_iter().collect(), &[]).unwrap_err();
    assert!(fault.problem.contains("too large"), "{fault:?}");
}
