// Loads an exported version folder the way TF Serving does and prints what it answers.
//
//   export_loader FOLDER serving_default PIXELS_FILE BATCH HEIGHT WIDTH CHANNELS
//   export_loader FOLDER serving_bytes IMAGE_FILE...
//
// PIXELS_FILE holds the batch's uint8 pixels and nothing else. One line an image: class_id label scores.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"

namespace {

void Check(const absl::Status& status) {
  if (!status.ok()) {
    std::cerr << status.ToString() << "\n";
    std::exit(1);
  }
}

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Check(absl::NotFoundError(path));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

tensorflow::Tensor Pixels(char** arguments) {
  tensorflow::TensorShape shape;
  for (int i = 1; i < 5; ++i) shape.AddDim(std::atoll(arguments[i]));
  tensorflow::Tensor images(tensorflow::DT_UINT8, shape);
  const std::string bytes = Contents(arguments[0]);
  if (bytes.size() != images.TotalBytes()) Check(absl::InvalidArgumentError("wrong file size"));
  std::memcpy(images.data(), bytes.data(), bytes.size());
  return images;
}

tensorflow::Tensor Files(int count, char** paths) {
  tensorflow::Tensor files(tensorflow::DT_STRING, tensorflow::TensorShape({count}));
  for (int i = 0; i < count; ++i) files.flat<tensorflow::tstring>()(i) = Contents(paths[i]);
  return files;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) Check(absl::InvalidArgumentError("expected FOLDER SIGNATURE FILE..."));
  const std::string name = argv[2];
  const bool from_pixels = name == "serving_default";
  if (from_pixels && argc != 8) Check(absl::InvalidArgumentError("expected four sizes"));

  tensorflow::SavedModelBundleLite model;
  Check(tensorflow::LoadSavedModel({}, {}, argv[1], {"serve"}, &model));
  const tensorflow::SignatureDef& signature = model.GetSignatures().at(name);
  std::vector<tensorflow::Tensor> outputs;
  Check(model.GetSession()->Run(
      {{signature.inputs().at(from_pixels ? "images" : "image_bytes").name(),
        from_pixels ? Pixels(argv + 3) : Files(argc - 3, argv + 3)}},
      {signature.outputs().at("class_id").name(), signature.outputs().at("label").name(),
       signature.outputs().at("scores").name()},
      {}, &outputs));

  std::cout.precision(std::numeric_limits<float>::max_digits10);
  const auto scores = outputs[2].matrix<float>();
  for (int64_t row = 0; row < scores.dimension(0); ++row) {
    std::cout << outputs[0].flat<int64_t>()(row) << " "
              << outputs[1].flat<tensorflow::tstring>()(row).c_str();
    for (int64_t k = 0; k < scores.dimension(1); ++k) std::cout << " " << scores(row, k);
    std::cout << "\n";
  }
}
