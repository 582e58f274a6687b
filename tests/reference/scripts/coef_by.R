# lme4's coef() by group. Usage: Rscript coef_by.R > ../coef_by.json
suppressPackageStartupMessages(library(lme4))
# lme4's default optimiser stops early; this one goes to the end of the digits.
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12, maxfun = 1e6),
  check.conv.singular = "ignore", calc.derivs = FALSE)
calls <- list(
  sleepstudy = list(data = "sleepstudy", formula = "Reaction ~ Days + (Days | Subject)"),
  sleepstudy_no_fixed_slope = list(data = "sleepstudy", formula = "Reaction ~ 1 + (Days | Subject)"),
  sleepstudy_no_fixed_intercept = list(data = "sleepstudy", formula = "Reaction ~ 0 + Days + (1 | Subject)"),
  cake = list(data = "cake", formula = "angle ~ recipe + temp + (temp | replicate)"),
  cake_recipe = list(data = "cake", formula = "angle ~ recipe + temp + (1 + recipe | replicate)"),
  penicillin = list(data = "Penicillin", formula = "diameter ~ 1 + (1 | plate) + (1 | sample)")
)
one <- function(call) {
  data <- get(call$data, envir = as.environment("package:lme4"))
  if (call$data == "cake") data$temp <- data$temp - 200
  fit <- lmer(as.formula(call$formula), data, control = tight)
  for (k in 1:3) fit <- update(fit, start = getME(fit, "theta"))
  groups <- lapply(coef(fit), function(table) list(levels = I(rownames(table)), columns = I(colnames(table)),
    values = unname(as.matrix(table))))
  list(data = call$data, formula = call$formula, REMLcrit = REMLcrit(fit), coef = groups)
}
cat(jsonlite::toJSON(list(source = paste("lme4", packageVersion("lme4"), "R", getRversion()), models = lapply(calls, one)),
  auto_unbox = TRUE, digits = NA, pretty = FALSE), "\n")
