# Cluster-robust covariances by clubSandwich and moderated variances by limma, as JSON.
# Usage: Rscript 30_robust_and_moderated.R DATA OUT, where DATA holds the csv files of tests/reference/data.
# Debian 12: R 4.2.2, lme4 1.1-31, clubSandwich 0.5.8, limma 3.54.
suppressMessages({library(lme4); library(clubSandwich); library(limma)})
arguments <- commandArgs(TRUE)
numbers <- function(x) paste0("[", paste(ifelse(is.finite(x), sprintf("%.17g", x), "\"Infinity\""), collapse = ", "), "]")
data <- read.csv(file.path(arguments[1], "sleepstudy.csv"))
data$Subject <- factor(data$Subject)
keep <- data$Days <= 1 + (as.integer(data$Subject) * 5) %% 9   # unbalanced: later days are left out, by subject
data <- data[keep, ]
models <- list(
  intercept = "Reaction ~ Days + (1 | Subject)",
  slope = "Reaction ~ Days + I(Days^2) + (Days | Subject)")
parts <- c()
for (name in names(models)) {
  fit <- lmer(as.formula(models[[name]]), data,
              control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5)))
  kinds <- c()
  for (kind in c("CR0", "CR1", "CR2")) {
    v <- vcovCR(fit, type = kind)
    test <- coef_test(fit, v, test = "Satterthwaite")
    df <- if ("df_Satt" %in% names(test)) test$df_Satt else test$df
    wald <- Wald_test(fit, diag(length(fixef(fit)))[-1, , drop = FALSE], vcov = v, test = "HTZ")
    kinds <- c(kinds, sprintf("\"%s\": {\"vcov\": %s, \"df\": %s, \"htz\": %s}", kind, numbers(as.matrix(v)), numbers(df),
                              numbers(c(wald$Fstat, wald$df_num, wald$df_denom, wald$p_val))))
  }
  parts <- c(parts, sprintf("\"%s\": {\"formula\": \"%s\", \"theta\": %s, %s}", name, models[[name]],
                            numbers(getME(fit, "theta")), paste(kinds, collapse = ", ")))
}
set.seed(1)
df <- rep(c(3, 5.5, 8, 20), 50)
variance <- 0.4 * rchisq(200, df) / df / (rchisq(200, 6) / 6)
plain <- squeezeVar(variance, df)
equal <- squeezeVar(variance, 5)
set.seed(2); tight <- 0.3 * rchisq(200, 10) / 10
near <- squeezeVar(tight, 10)
outliers <- variance; outliers[c(5, 77, 120)] <- outliers[c(5, 77, 120)] * c(50, 500, 20)
robust <- squeezeVar(outliers, df, robust = TRUE)
robust_tight <- squeezeVar(replace(tight, 3, 5), 10, robust = TRUE)
moderated <- function(v, d, s) sprintf(
  "{\"variance\": %s, \"df\": %s, \"df_prior\": %s, \"var_prior\": %s, \"var_post\": %s}",
  numbers(v), numbers(d), numbers(s$df.prior), numbers(s$var.prior), numbers(s$var.post))
text <- sprintf("{\"clubSandwich\": {%s}, \"rows\": %s, \"limma\": [%s, %s, %s], \"robust\": [%s, %s]}", paste(parts, collapse = ", "),
  numbers(as.integer(which(keep)) - 1), moderated(variance, df, plain), moderated(variance, rep(5, 200), equal),
  moderated(tight, rep(10, 200), near), moderated(outliers, df, robust),
  moderated(replace(tight, 3, 5), rep(10, 200), robust_tight))
writeLines(text, arguments[2])
