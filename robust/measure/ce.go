package measure

// AlexNetClean is AlexNet's error on ImageNet's clean validation photos:
// torchvision's AlexNet, by robustness_metrics of google-research.
const AlexNetClean = 0.4348

// alexNet is AlexNet's error on ImageNet-C by severity. Their means are the
// fifteen constants of https://github.com/hendrycks/robustness.
var alexNet = map[string][5]float64{
	"gaussian_noise":    {.69528, .82542, .93554, .98138, .99452},
	"shot_noise":        {.71224, .85108, .93574, .98182, .99146},
	"impulse_noise":     {.78374, .89808, .94870, .98720, .99548},
	"defocus_blur":      {.65624, .73202, .85036, .91364, .94714},
	"glass_blur":        {.64308, .75054, .88806, .91622, .93344},
	"motion_blur":       {.58430, .70048, .82108, .89750, .92638},
	"zoom_blur":         {.70008, .76992, .80784, .84198, .87198},
	"snow":              {.71726, .88392, .86468, .91870, .94952},
	"frost":             {.61390, .79734, .88790, .89942, .93430},
	"fog":               {.67474, .76050, .84378, .87260, .94500},
	"brightness":        {.45140, .48502, .54048, .62166, .72440},
	"contrast":          {.64548, .76150, .88874, .97760, .99270},
	"elastic_transform": {.52596, .70116, .55686, .64076, .80554},
	"pixelate":          {.52218, .54620, .73728, .87092, .91262},
	"jpeg_compression":  {.51002, .54718, .57294, .65458, .74778},
}

// AlexNet returns AlexNet's error for a corruption at a severity from 1.
func AlexNet(name string, severity int) (float64, bool) {
	of, ok := alexNet[name]
	if !ok || severity < 1 || severity > len(of) {
		return 0, false
	}
	return of[severity-1], true
}

// CorruptionError is a model's over AlexNet's, in percent, summed over
// severities: errors by severity, of those that were measured. Of a corruption
// that AlexNet has no numbers of, ok is false.
//
// Hendrycks and Dietterich, https://arxiv.org/abs/1903.12261, section 3.2.
func CorruptionError(name string, errors map[int]float64) (ce float64, ok bool) {
	var sum, alex float64
	for s, e := range errors {
		a, known := AlexNet(name, s)
		if !known {
			return 0, false
		}
		sum, alex = sum+e, alex+a
	}
	return 100 * sum / alex, alex > 0
}

// RelativeCE is how much worse a model becomes over how much worse AlexNet does,
// in percent.
func RelativeCE(name string, errors map[int]float64, clean float64) (ce float64, ok bool) {
	var sum, alex float64
	for s, e := range errors {
		a, known := AlexNet(name, s)
		if !known {
			return 0, false
		}
		sum, alex = sum+e-clean, alex+a-AlexNetClean
	}
	return 100 * sum / alex, len(errors) > 0
}
