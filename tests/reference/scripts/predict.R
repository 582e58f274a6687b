# lme4's predict() on new data. Usage: Rscript tests/reference/scripts/predict.R   (from the root of the repository)
# Writes tests/reference/predict.json: for each case the model, the new rows, and the predictions for each re.form (and
# with allow.new.levels where a level is new). null stands for NA. Data are those of tests/reference/data.
suppressPackageStartupMessages(library(lme4))
root <- "tests/reference"
# lme4's default optimiser stops early; this one goes to the end of the digits.
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12, maxfun = 1e6),
  check.conv.singular = "ignore", calc.derivs = FALSE)
read <- function(file) {
  schema <- jsonlite::fromJSON(file.path(root, "data", sub("csv$", "schema.json", file)), simplifyVector = TRUE)$columns
  data <- read.csv(file.path(root, "data", file))
  for (name in names(schema)) if (schema[[name]]$type %in% c("factor", "ordered"))
    data[[name]] <- factor(data[[name]], schema[[name]]$levels, ordered = schema[[name]]$type == "ordered")
  data
}
cases <- list(
  slope = list(file = "sleepstudy.csv", formula = "Reaction ~ Days + (Days | Subject)",
    newdata = data.frame(Subject = c("308", "372", "999", "309", "309"), Days = c(0, 12.5, 3, NA, -2)),
    forms = c("all", "~0", "~ (1 | Subject)", "~ (0 + Days | Subject)", "~ (1 + Days | Subject)")),
  double_bar = list(file = "sleepstudy.csv", formula = "Reaction ~ Days + (Days || Subject)",
    newdata = data.frame(Subject = c("310", "999", "352"), Days = c(1, 2, 20)),
    forms = c("all", "~0", "~ (1 | Subject)", "~ (0 + Days | Subject)")),
  offset = list(file = "sleepstudy.csv", formula = "Reaction ~ Days + offset(3 * sqrt(Days)) + (1 | Subject)",
    newdata = data.frame(Subject = c("308", "999"), Days = c(4, 16)), forms = c("all", "~0")),
  poly = list(file = "sleepstudy.csv", formula = "Reaction ~ poly(Days, 2) + scale(Days):I(Days > 4) + (1 | Subject)",
    newdata = data.frame(Subject = c("308", "337", "371"), Days = c(1, 9, 11)), forms = c("all", "~0")),
  log_response = list(file = "sleepstudy.csv", formula = "log(Reaction) ~ log(Days + 1) + (1 + I(Days^2) | Subject)",
    newdata = data.frame(Subject = c("308", "337"), Days = c(1, 11)),
    forms = c("all", "~ (1 | Subject)", "~ (0 + I(Days^2) | Subject)")),
  ordered = list(file = "cake.csv", formula = "angle ~ recipe * temperature + (1 | replicate)",
    newdata = data.frame(recipe = c("B", "A", "C"), temperature = c("215", "175", "195"), replicate = c("3", "15", "1")),
    forms = c("all", "~0")),
  nested_cake = list(file = "cake.csv", formula = "angle ~ recipe + temp + (1 | replicate/recipe)",
    newdata = data.frame(recipe = c("B", "A", "C", "B"), temp = c(175, 300, 200, 210), replicate = c("3", "15", "16", "7")),
    forms = c("all", "~0", "~ (1 | replicate)", "~ (1 | recipe:replicate)")),
  factor_slope = list(file = "cake.csv", formula = "angle ~ recipe + temp + (1 + recipe | replicate)",
    newdata = data.frame(recipe = c("B", "A", "C"), temp = c(175, 300, 200), replicate = c("3", "15", "1")),
    forms = c("all", "~0", "~ (recipe | replicate)")),  # lme4 1.1-31 stops at ~ (1 | replicate) here
  crossed = list(file = "Penicillin.csv", formula = "diameter ~ 1 + (1 | plate) + (1 | sample)",
    newdata = data.frame(plate = c("a", "zz", "b", "zz"), sample = c("A", "B", "QQ", "QQ")),
    forms = c("all", "~0", "~ (1 | plate)", "~ (1 | sample)", "~ (1 | plate) + (1 | sample)")),
  oats = list(file = "Oats.csv", formula = "yield ~ nitro * Variety + (1 | Block/Variety)",
    newdata = data.frame(Block = c("I", "VI", "VII", "II"), Variety = c("Victory", "Marvellous", "Victory", "Golden Rain"),
      nitro = c(0.3, 1, 0, 0.2)),
    forms = c("all", "~0", "~ (1 | Block)", "~ (1 | Variety:Block)", "~ (1 | Block/Variety)"))
)
one <- function(case) {
  data <- read(case$file)
  fit <- lmer(as.formula(case$formula), data, control = tight)
  for (k in 1:3) fit <- update(fit, start = getME(fit, "theta"))
  newdata <- case$newdata
  for (name in names(newdata)) if (is.factor(data[[name]])) {
    known <- levels(data[[name]])
    fixed <- name %in% all.vars(nobars(as.formula(case$formula)))
    newdata[[name]] <- factor(newdata[[name]], union(known, if (!fixed) na.omit(newdata[[name]])),
      ordered = is.ordered(data[[name]]))
  }
  predicted <- lapply(setNames(nm = case$forms), function(form)
    I(unname(predict(fit, newdata, re.form = if (form == "all") NULL else as.formula(form), allow.new.levels = TRUE,
      na.action = na.pass))))
  list(file = case$file, formula = case$formula, REMLcrit = REMLcrit(fit), newdata = lapply(case$newdata, I), predicted = predicted)
}
writeLines(jsonlite::toJSON(list(source = paste("lme4", packageVersion("lme4"), "R", getRversion()), cases = lapply(cases, one)),
  auto_unbox = TRUE, digits = I(17), na = "null"), file.path(root, "predict.json"))
