// Loads an exported version folder the way TF Serving does and prints what it answers.
//
//   export_loader FOLDER serving_default PIXELS_FILE BATCH HEIGHT WIDTH CHANNELS
//   export_loader FOLDER serving_bytes IMAGE_FILE...
//   export_loader FOLDER texts LIBRARIES TEXT_FILE [TEXT_PAIR_FILE]
//
// PIXELS_FILE holds the batch's uint8 pixels and nothing else; a file of texts one text a line.
// LIBRARIES is the folder with tensorflow-text's operations, *.so, which are loaded first.
// One line an example: class_id label scores; of a model without classes the score alone.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/c/c_api.h"
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

tensorflow::Tensor Strings(const std::vector<std::string>& values) {
  tensorflow::Tensor strings(tensorflow::DT_STRING,
                             tensorflow::TensorShape({static_cast<int64_t>(values.size())}));
  for (size_t i = 0; i < values.size(); ++i) strings.flat<tensorflow::tstring>()(i) = values[i];
  return strings;
}

std::vector<std::string> Lines(const std::string& path) {
  std::istringstream file(Contents(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// Makes the operations of all libraries in a folder known.
void LoadOperations(const std::string& folder) {
  TF_Status* status = TF_NewStatus();
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() != ".so") continue;
    TF_LoadLibrary(file.path().c_str(), status);
    if (TF_GetCode(status) != TF_OK) Check(absl::NotFoundError(TF_Message(status)));
  }
  TF_DeleteStatus(status);
}

// What a signature is asked, by the names of its inputs.
using Request = std::vector<std::pair<std::string, tensorflow::Tensor>>;

Request Asked(const std::string& kind, int count, char** arguments) {
  if (kind == "serving_default") {
    if (count != 5) Check(absl::InvalidArgumentError("expected four sizes"));
    return {{"images", Pixels(arguments)}};
  }
  if (kind == "texts") {
    LoadOperations(arguments[0]);
    const std::vector<std::string> names = {"text", "text_pair"};
    Request request;
    for (int i = 1; i < count; ++i) {
      request.emplace_back(names.at(i - 1), Strings(Lines(arguments[i])));
    }
    return request;
  }
  std::vector<std::string> files;
  for (int i = 0; i < count; ++i) files.push_back(Contents(arguments[i]));
  return {{"image_bytes", Strings(files)}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) Check(absl::InvalidArgumentError("expected FOLDER SIGNATURE FILE..."));
  const std::string kind = argv[2];
  const Request request = Asked(kind, argc - 3, argv + 3);

  tensorflow::SavedModelBundleLite model;
  Check(tensorflow::LoadSavedModel({}, {}, argv[1], {"serve"}, &model));
  const tensorflow::SignatureDef& signature =
      model.GetSignatures().at(kind == "texts" ? "serving_default" : kind);
  Request inputs;
  for (const auto& [name, values] : request) {
    inputs.emplace_back(signature.inputs().at(name).name(), values);
  }
  const bool has_classes = signature.outputs().contains("scores");
  std::vector<std::string> names = {"score"};
  if (has_classes) names = {"scores", "class_id", "label"};
  for (std::string& name : names) name = signature.outputs().at(name).name();
  std::vector<tensorflow::Tensor> outputs;
  Check(model.GetSession()->Run(inputs, names, {}, &outputs));

  std::cout.precision(std::numeric_limits<float>::max_digits10);
  const auto scores = outputs[0].flat_inner_dims<float>();
  for (int64_t row = 0; row < outputs[0].dim_size(0); ++row) {
    if (!has_classes) {
      std::cout << outputs[0].flat<float>()(row) << "\n";
      continue;
    }
    std::cout << outputs[1].flat<int64_t>()(row) << " "
              << outputs[2].flat<tensorflow::tstring>()(row).c_str();
    for (int64_t k = 0; k < scores.dimension(1); ++k) std::cout << " " << scores(row, k);
    std::cout << "\n";
  }
}
