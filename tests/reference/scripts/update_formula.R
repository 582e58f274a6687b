# R's own update.formula on a list of cases. Usage: Rscript update_formula.R > ../update_formula.json
# A deparsed formula of R says "1 - 1" for no term and no intercept; ours says "0".
options(keep.source = FALSE)
cases <- list(
  list(y ~ x + (1 | g), . ~ . - x), list(y ~ x + (1 | g), . ~ . + z), list(y ~ x + (1 | g), . ~ . - (1 | g)),
  list(y ~ x + (1 | g), . ~ . + (1 | h)), list(y ~ x + (1 | g), . ~ . - (1 | g) + (x | g)),
  list(y ~ x + (1 | g), log(.) ~ .), list(log(y) ~ x, exp(.) ~ .), list(y - x ~ 1, . / 2 ~ .),
  list(y - x ~ 1, log(.) ~ .), list(y ~ x, I(. - 2) ~ .), list(y ~ x, . + 1 ~ .), list(y ~ x, log(.) / 2 ~ .),
  list(y ~ x, ~ . + z), list(y ~ x, z ~ w), list(y ~ x, z ~ .), list(y ~ x + (1 | g), . ~ z + (1 | g)),
  list(y ~ 0 + x, . ~ . + z), list(y ~ x - 1, . ~ . + 1), list(y ~ x, . ~ . - 1), list(y ~ x, . ~ 0 + .),
  list(y ~ x, . ~ . - x - 1), list(y ~ x, . ~ . - x), list(y ~ x, . ~ 1), list(y ~ x, . ~ . + x),
  list(y ~ a * b + (1 | g), . ~ . - a:b), list(y ~ a * b, . ~ . - a), list(y ~ b:a, . ~ . - a:b),
  list(y ~ a:b + a, . ~ .), list(y ~ a / b, . ~ .), list(y ~ (a + b) / d, . ~ .), list(y ~ a + b, . ~ .^2),
  list(y ~ a + b, . ~ . * d), list(y ~ a + b, . ~ (.)^2 - a), list(y ~ (a + b + d)^2, . ~ . - a:d),
  list(y ~ a + b, . ~ (. + d)^2), list(y ~ x + z, . ~ . - (x + z)), list(y ~ a + b + (1 | g), . ~ . - .),
  list(y ~ x + offset(o) + (1 | g), . ~ . + z), list(y ~ x, . ~ . + offset(log(o))),
  list(y ~ x + (1 | a/b), . ~ . - x), list(y ~ x + (1 | a:b), . ~ . - (1 | a:b)), list(y ~ x + (x || g), . ~ . - (x || g)),
  list(y ~ I(x^2) + poly(x, 2), . ~ . - I(x^2)), list(y ~ f + (0 + f | g), . ~ . - f),
  list(y ~ x + (0 + dummy(f, "u") | g), . ~ . - x), list(y ~ x.1 + (x.1 | g), . ~ . + x.2:x.1),
  list(y ~ a * b + (1 | g), log(.) ~ . + z + (1 | h)), list(y ~ ((1 | g) + x), . ~ . - (1 | g)),
  list(y ~ x + ou(t | g), . ~ . - ou(t | g) + (1 | g)), list(y ~ `a b` + x, . ~ . - `a b`)
)
one <- function(f) paste(deparse(f, width.cutoff = 500L), collapse = " ")
rows <- lapply(cases, function(case) list(old = one(case[[1]]), new = one(case[[2]]),
  result = one(update.formula(case[[1]], case[[2]]))))
cat(jsonlite::toJSON(list(source = paste("R", getRversion(), "stats::update.formula"), cases = rows),
  auto_unbox = TRUE, pretty = TRUE), "\n")
