# Leverages and estimates without a case by lme4, as JSON.
# Usage: Rscript 32_influence.R OUT. Debian 12: R 4.2.2, lme4 1.1-31, jsonlite 1.8.4.
suppressMessages({library(lme4); library(jsonlite)})
control <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5))
out <- list(lme4 = as.character(packageVersion("lme4")))
one <- function(fit, groups) {
  by <- if (is.null(groups)) influence(fit) else influence(fit, groups = groups)
  list(formula = deparse1(formula(fit)), group = groups, theta = unname(getME(fit, "theta")),
       hat = unname(hatvalues(fit)), studentized = unname(rstudent(fit)),
       cooks = unname(cooks.distance(by)), fixef = unname(by[[grep("^fixed.effects\\[", names(by))]]),
       cases = rownames(by[[grep("^fixed.effects\\[", names(by))]]))
}
sleep <- lmer(Reaction ~ Days + (Days | Subject), sleepstudy, control = control)
pen <- lmer(diameter ~ 1 + (1 | plate) + (1 | sample), Penicillin, control = control)
out$models <- list(
  sleep_by_subject = one(sleep, "Subject"), sleep_by_row = one(sleep, NULL), penicillin_by_sample = one(pen, "sample"))
write_json(out, commandArgs(TRUE)[1], digits = NA, auto_unbox = TRUE)
