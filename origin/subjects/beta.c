#include "origin/subjects/beta.h"

#include <math.h>

#define TERMS_MAX 100000 /* some multiples of the root of the larger parameter are needed */
#define PRECISION 1e-14
#define TINY      1e-300
#define HALVINGS  100

/* The continued fraction of DLMF 8.17.22, by Lentz's method as Thompson and Barnett changed it. It
 * converges fast for x below the mean. */
static double fraction(double a, double b, double x)
{
    double c = 1, d = 1 - (a + b) * x / (a + 1), f;
    d = 1 / (fabs(d) < TINY ? TINY : d);
    f = d;
    for (int m = 1; m <= TERMS_MAX; m++) {
        const double steps[2] = {m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                                 -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))};
        double change = 1;
        for (int i = 0; i < 2; i++) {
            d = 1 + steps[i] * d;
            d = 1 / (fabs(d) < TINY ? TINY : d);
            c = 1 + steps[i] / c;
            c = fabs(c) < TINY ? TINY : c;
            change = c * d;
            f *= change;
        }
        if (fabs(change - 1) < PRECISION)
            break;
    }
    return f;
}

static double log_gamma(double x)
{
    int sign;
    return lgamma_r(x, &sign);
}

double beta_cdf(double a, double b, double x)
{
    if (x <= 0)
        return 0;
    if (x >= 1)
        return 1;
    const double front =
        exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1) / (a + b + 2))
        return front * fraction(a, b, x) / a;
    return 1 - front * fraction(b, a, 1 - x) / b;
}

/* By halving: the function rises. */
double beta_quantile(double a, double b, double p)
{
    double low = 0, high = 1;
    for (int i = 0; i < HALVINGS && low < high; i++) {
        const double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high)
            break;
        if (beta_cdf(a, b, middle) < p)
            low = middle;
        else
            high = middle;
    }
    return low + (high - low) / 2;
}

double beta_mean(double a, double b)
{
    return a / (a + b);
}

double beta_sd(double a, double b)
{
    return sqrt(a * b / ((a + b) * (a + b) * (a + b + 1)));
}
