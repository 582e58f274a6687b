# Model matrices and aliased columns by R (4.2.2; base and splines), for formulas that are spelled alike in R and here.
# Usage: Rscript tests/reference/scripts/model_matrices.R   (from the root of the repository; needs jsonlite)
# Writes data/model_matrices.csv with its schema, and model_matrices.json.gz: for each formula the columns of
# model.matrix(), their names, those that lm() drops, and its coefficients. The data have a factor whose levels are not sorted (a), an
# empty cell (a = "c", b = "q"), an unused level of a factor (u) and of an ordered one (v), an aliased number (w = 2x + 1)
# and an aliased factor (d, a coarser a), a logical, text and integer column.
library(splines)
set.seed(20)
n <- 32
D <- data.frame(
  a = factor(sample(c("b", "a", "c"), n, TRUE), levels = c("b", "a", "c")),
  b = factor(sample(c("p", "q"), n, TRUE)),
  u = factor(sample(c("u1", "u2", "u4"), n, TRUE), levels = c("u1", "u2", "u3", "u4")),
  o = factor(sample(c("low", "mid", "high", "top"), n, TRUE), levels = c("low", "mid", "high", "top"), ordered = TRUE),
  v = factor(sample(c("v1", "v2", "v4"), n, TRUE), levels = c("v1", "v2", "v3", "v4"), ordered = TRUE),
  s = sample(c("k", "m", "n"), n, TRUE),
  k = sample(1:4, n, TRUE),
  l = sample(c(TRUE, FALSE), n, TRUE),
  x = round(rnorm(n), 3),
  z = round(runif(n, 0.5, 4), 3)
)
D$b[D$a == "c"] <- "p"
D$d <- factor(ifelse(D$a == "b", "d1", "d2"))
D$w <- 2 * D$x + 1
D$y <- round(rnorm(n), 3)

shared <- c(
  "x", "I(x^2)", "x + I(x^2)", "I((x - 1)^2)", "x^2", "I(k^3)", "I(k^20)", "k", "log(z)", "log(z, 2)", "log2(z)",
  "log10(z)", "log1p(z)", "exp(x)", "sqrt(z)", "abs(x)", "sin(2 * pi * x)", "cos(x)", "I(x > 0)", "I(x * z)", "x:z", "x * z",
  "poly(x, 1)", "poly(x, 2)", "poly(x, 3)", "poly(k, 2)", "poly(x, 2, raw = TRUE)", "poly(x, degree = 2, raw = FALSE)", "poly(x, 2) * a",
  "poly(x, 2):a", "scale(x)", "scale(x, scale = FALSE)", "scale(z, center = FALSE)", "scale(x) * a", "bs(x, df = 5)", "bs(x, df = 4, degree = 2) + b",
  "a", "s", "l", "u", "0 + a", "0 + l", "0 + s + a", "a - 1", "factor(k)", "factor(s)", "factor(k) * x", "factor(a, levels = c(\"c\", \"a\", \"b\"))",
  "relevel(a, \"c\")", "relevel(a, ref = \"c\")", "relevel(a, ref = \"c\") * x", "relevel(factor(a), \"c\")",
  "relevel(factor(k), \"3\")", "relevel(u, \"u2\")",
  "o", "v", "0 + o", "0 + v + a", "o * x", "o:x", "o:a", "a * o", "v * b", "factor(v)", "factor(o, ordered = FALSE)", "0 + a + o:x",
  "C(a, contr.helmert)", "C(a, contr.sum)", "C(a, contr.treatment)", "C(a, contr.poly)", "C(o, contr.treatment)",
  "C(o, contr.sum)", "C(o)", "C(factor(k), contr.sum)", "C(a, contr.sum) * b",
  "C(a, contr.helmert):x", "0 + C(a, contr.sum)", "0 + b + C(a, contr.sum)", "C(a, contr.sum) * C(o, contr.helmert)",
  "a:b", "a * b", "a * u", "0 + a:b", "0 + a * b", "a:x", "0 + a:x", "x + a:x", "x + a + a:x", "b:a + a + b", "x:a + x",
  "a + a:b", "b + a:b", "(a + b)^2", "(a + b + x)^2", "(a + u + o)^2 - a:o", "a * b * x", "a * b - a", "a * b - b", "a * x - x", "a * b * u - a:b:u",
  "a:b:u", "a:o:x", "a:u + a:x", "a:b + b:u", "l * x", "l:a", "I(x > 0) * a",
  "a / b", "a / x", "a / (b + x)", "(a + b) / x", "b / a / x", "0 + a / x", "0 + x + x:a", "0 + x:a + b", "0 + x",
  "b + a %in% b", "x + a %in% x",
  "x + w", "w + x + a", "a + d", "d + a", "d * a", "a * w + x", "x + z + I(x + z)", "o + factor(o, ordered = FALSE)", "1"
)
# What only the other spelling says, ours first.
translated <- list(
  c("C(a, Treatment(\"c\"))", "C(a, contr.treatment(3, base = 3))"),
  c("C(a, Treatment(\"c\")) * x", "C(a, contr.treatment(3, base = 3)) * x"),
  # R drops the contrasts of a factor with an unused level (and warns); here they are those of the levels that occur.
  c("C(u, contr.helmert)", "C(droplevels(u), contr.helmert)"),
  c("C(v, contr.sum)", "C(droplevels(v), contr.sum)"),
  c("center(x)", "scale(x, scale = FALSE)"),
  c("C(a, contr.SAS)", "C(a, contr.SAS)")
)
pairs <- c(lapply(shared, function(f) c(f, f)), translated)
records <- lapply(pairs, function(pair) {
  fit <- lm(as.formula(paste("y ~", pair[2])), data = D)
  X <- model.matrix(fit)
  stopifnot(identical(colnames(X), names(coef(fit))))
  list(formula = pair[1], r = pair[2], names = I(colnames(X)), columns = unname(t(X)), dropped = I(names(which(is.na(coef(fit))))),
    estimate = I(unname(coef(fit))))
})
root <- "tests/reference"
write.csv(D, file.path(root, "data", "model_matrices.csv"), row.names = FALSE, quote = FALSE)
described <- function(v) {
  if (is.factor(v)) list(type = if (is.ordered(v)) "ordered" else "factor", levels = levels(v))
  else list(type = if (is.character(v)) "string" else if (is.logical(v)) "logical" else "number")
}
schema <- list(file = "model_matrices.csv", source = "simulated by scripts/model_matrices.R; set.seed(20)", columns = lapply(D, described))
writeLines(jsonlite::toJSON(schema, auto_unbox = TRUE, pretty = TRUE), file.path(root, "data", "model_matrices.schema.json"))
out <- gzfile(file.path(root, "model_matrices.json.gz"), "w")
writeLines(jsonlite::toJSON(list(r = R.version.string, records = records), auto_unbox = TRUE, digits = I(17), na = "null"), out)
close(out)
