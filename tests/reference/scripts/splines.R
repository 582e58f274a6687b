# R's ns() and bs(), on the rows of a fit and on others. Usage: Rscript tests/reference/scripts/splines.R   (from the root)
# Writes tests/reference/splines.json: x, new values of x, for each call its columns on x and then on the new values; and
# of a model with a spline what lme4 gives: deviance, fixed effects, predictions without random effects.
suppressPackageStartupMessages({library(splines); library(lme4)})
x <- c(0.4, 1.1, 1.3, 2.0, 2.2, 2.9, 3.1, 3.7, 4.4, 4.6, 5.3, 6.8, 7.1, 8.0, 9.5, 12.5)
new <- c(-2, 0.4, 1, 3.7, 9, 12.5, 20)
calls <- c("ns(x)", "ns(x, df=3)", "ns(x, 5)", "ns(x, df=4, intercept=TRUE)", "ns(x, knots=c(2, 4))",
  "ns(x, df=3, Boundary.knots=c(1, 8))", "ns(x, knots=3, Boundary.knots=c(0, 15))", "bs(x)", "bs(x, df=4)", "bs(x, 6)",
  "bs(x, df=5, degree=1)", "bs(x, knots=c(2, 5), degree=2)", "bs(x, df=6, intercept=TRUE)",
  "bs(x, df=5, Boundary.knots=c(1, 8))")
columns <- lapply(calls, function(call) suppressWarnings({
  basis <- eval(parse(text = call))
  unname(rbind(unclass(basis)[, , drop = FALSE], unclass(predict(basis, new))[, , drop = FALSE]))
}))
read <- read.csv("tests/reference/data/sleepstudy.csv")
formula <- "Reaction ~ ns(Days, df = 3) + (1 | Subject)"
fit <- lmer(as.formula(formula), transform(read, Subject = factor(Subject)))
days <- c(-1, 0, 4.5, 9, 12)
predicted <- unname(predict(fit, data.frame(Days = days), re.form = NA))
writeLines(jsonlite::toJSON(list(x = x, new = new, columns = setNames(columns, calls), fit = list(formula = formula,
  deviance = as.numeric(REMLcrit(fit)), fixef = unname(fixef(fit)), days = days, predicted = predicted)), digits = NA,
  auto_unbox = TRUE), "tests/reference/splines.json")
